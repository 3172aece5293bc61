using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Numerics;

/// <summary>
/// Batches of the user's own making, in whatever form: read once for their ids, and held against that reading in every later one, since
/// scores can be told apart by id only where each pass gives the same.
/// </summary>
/// <typeparam name="T">The form of a batch.</typeparam>
/// <param name="batches">The batches; each enumeration begins anew.</param>
/// <param name="open">The names and tensors of a batch.</param>
/// <param name="ids">The ids of a batch's examples; null: counted through.</param>
internal sealed class BatchSource<T>(
    IEnumerable<T> batches,
    Func<T, (string[] Names, Tensor[] Tensors)> open,
    Func<T, IEnumerable<long>>? ids
)
{
    private List<Note>? _notes;

    /// <summary>The ids in order; the first call reads the batches.</summary>
    public long[] Ids() => [.. Notes().SelectMany(note => note.Ids)];

    /// <summary>The batches, held against the first reading.</summary>
    public IEnumerable<(string[] Names, Tensor[] Tensors, bool Owned)> Read()
    {
        var (notes, next, start) = (Notes(), 0, 0L);
        foreach (var batch in batches)
        {
            var (names, tensors) = Open(batch, next);
            var note = NoteOf(batch, names, tensors, next, start);
            var difference = next < notes.Count ? notes[next].Differs(note) : "was not there";
            if (difference.Length > 0)
            {
                throw new InfluenceException(
                    $"The batches differ from those of the first pass: batch {next} {difference}. Each enumeration gives the same "
                        + "batches in the same order: fix the shuffle, and draw no random augmentation."
                );
            }

            start += note.Ids.Length;
            next++;
            yield return (names, tensors, false);
        }

        if (next < notes.Count)
        {
            throw new InfluenceException(
                next == 0
                    ? "The batches can be enumerated only once: a second pass gave none. Give a list, or a method with yield return that "
                        + "begins anew at each enumeration."
                    : $"The batches differ from those of the first pass: {next} now, {notes.Count} then. Each enumeration gives the same "
                        + "batches in the same order."
            );
        }
    }

    private List<Note> Notes()
    {
        if (_notes is not null)
        {
            return _notes;
        }

        var (notes, start) = (new List<Note>(), 0L);
        foreach (var batch in batches)
        {
            var (names, tensors) = Open(batch, notes.Count);
            notes.Add(NoteOf(batch, names, tensors, notes.Count, start));
            start += notes[^1].Ids.Length;
        }

        return _notes = notes;
    }

    private (string[] Names, Tensor[] Tensors) Open(T batch, int number)
    {
        if (batch is null)
        {
            throw new InfluenceException($"Batch {number} is null.");
        }

        var (names, tensors) = open(batch);
        var broken = names.Where((_, i) => tensors[i] is null || tensors[i].IsInvalid || tensors[i].dim() == 0).ToList();
        if (names.Length == 0 || broken.Count > 0)
        {
            throw new InfluenceException(
                $"Batch {number} has "
                    + (
                        names.Length == 0
                            ? "no tensor; "
                            : $"tensors that are null, disposed or without a dimension: {InfluenceException.List(broken)}; "
                    )
                    + "the first dimension of each tensor runs over the examples."
            );
        }

        if (tensors.Select(t => t.shape[0]).Distinct().Count() != 1 || tensors[0].shape[0] == 0)
        {
            throw new InfluenceException(
                $"The first dimension of each tensor of a batch runs over its examples, at least one; batch {number} has "
                    + $"{string.Join(", ", names.Zip(tensors, (n, t) => $"\"{n}\" [{string.Join(", ", t.shape)}]"))}."
            );
        }

        return (names, tensors);
    }

    private Note NoteOf(T batch, string[] names, Tensor[] tensors, int number, long start)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var rows = tensors[0].shape[0];
        long[] own = ids is null ? [.. Enumerable.Range(0, (int)rows).Select(i => start + i)] : [.. ids(batch)];
        if (own.Length != rows)
        {
            throw new InfluenceException(
                $"The delegate gives {own.Length} ids for batch {number}, which has {rows} examples. Give one id for each."
            );
        }

        var sums = tensors.Select(Fingerprint).ToArray();
        return new Note(own, string.Join(", ", names.Zip(tensors, (n, t) => $"\"{n}\" {t.dtype} [{string.Join(", ", t.shape)}]")), sums);
    }

    /// <summary>A sum with other weights for each element and its neighbours: values that change, or change places, change it.</summary>
    private static double Fingerprint(Tensor values)
    {
        var flat = values.reshape(-1).to_type(ScalarType.Float64);
        var weights = arange(Kept(0), Kept(flat.shape[0]), Kept(1), ScalarType.Float64, flat.device)
            .mul_(Kept(0.6180339887498949))
            .frac_()
            .add_(Kept(1));
        return flat.dot(weights).item<double>();
    }

    /// <summary>What is remembered of a batch.</summary>
    private sealed record Note(long[] Ids, string Shapes, double[] Sums)
    {
        /// <summary>What differs in a later reading; empty where nothing does.</summary>
        public string Differs(Note later) =>
            !Ids.AsSpan().SequenceEqual(later.Ids)
                ? $"has other ids ({InfluenceException.List(later.Ids)}, at first {InfluenceException.List(Ids)})"
            : Shapes != later.Shapes ? $"has {later.Shapes}, at first {Shapes}"
            : !Sums.AsSpan().SequenceEqual(later.Sums) ? "has other values"
            : string.Empty;
    }
}
