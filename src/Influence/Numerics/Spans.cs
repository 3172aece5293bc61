using static TorchSharp.torch;

namespace Influence.Numerics;

/// <summary>
/// Where the time of calls on this thread goes, span within span, for benchmarks. A moment belongs to the innermost span that is under way.
/// Nobody watches otherwise: a span then costs one look at a field of the thread.
/// </summary>
internal sealed class Spans : IDisposable
{
    [ThreadStatic]
    private static Spans? s_current;

    private readonly Func<double> _clock;
    private Tally _tally = new("the rest", null);
    private double _since;

    private Spans(Func<double> clock)
    {
        (_clock, Root) = (clock, _tally);
        _since = clock();
    }

    /// <summary>Whether anybody watches, so that what only a watcher reads need not be made.</summary>
    public static bool AreWatched => s_current is not null;

    /// <summary>What belongs to no span, with the spans within it.</summary>
    public Tally Root { get; }

    /// <summary>Watches the spans of this thread until the result is disposed.</summary>
    /// <param name="clock">The seconds so far, of a clock or of a processor.</param>
    public static Spans Watch(Func<double> clock) => s_current = new Spans(clock);

    /// <summary>Begins a span; disposing it ends it.</summary>
    /// <param name="name">Its name within the span under way; the same again adds to it.</param>
    /// <param name="detail">What tells spans of one name apart.</param>
    /// <param name="examples">How many examples it is for.</param>
    public static Span Of(string name, object? detail = null, long examples = 0) => new(s_current, name, detail, examples);

    /// <summary>Notes a tensor that the span under way made or copied.</summary>
    public static void Made(Tensor? tensor)
    {
        if (s_current is { } spans && tensor is not null)
        {
            spans._tally.Bytes += tensor.numel() * tensor.element_size();
        }
    }

    public void Dispose()
    {
        Enter(Root);
        s_current = null;
    }

    private Tally Enter(Tally next)
    {
        var now = _clock();
        _tally.Seconds += now - _since;
        var before = _tally;
        (_tally, _since) = (next, _clock());
        return before;
    }

    /// <summary>What one span took, without those within it.</summary>
    internal sealed class Tally(string name, object? detail)
    {
        private readonly List<Tally> _within = [];

        public string Name => name;

        public object? Detail => detail;

        public double Seconds { get; set; }

        /// <summary>Of tensors that it made or copied.</summary>
        public long Bytes { get; set; }

        public int Calls { get; set; }

        public long Examples { get; set; }

        /// <summary>The spans within it, in the order of their beginnings.</summary>
        public IReadOnlyList<Tally> Within => _within;

        /// <summary>With everything within it.</summary>
        public double SecondsInAll => Seconds + _within.Sum(tally => tally.SecondsInAll);

        public Tally Of(string part, object? partDetail = null)
        {
            var found = _within.Find(tally => tally.Name == part && Equals(tally.Detail, partDetail));
            if (found is null)
            {
                _within.Add(found = new Tally(part, partDetail));
            }

            return found;
        }
    }

    /// <summary>A span under way.</summary>
    internal readonly struct Span : IDisposable
    {
        private readonly Spans? _spans;
        private readonly Tally? _before;

        public Span(Spans? spans, string name, object? detail, long examples)
        {
            if ((_spans = spans) is not null)
            {
                _before = spans!.Enter(spans._tally.Of(name, detail));
                spans._tally.Calls++;
                spans._tally.Examples += examples;
            }
        }

        public void Dispose() => _spans?.Enter(_before!);
    }
}
