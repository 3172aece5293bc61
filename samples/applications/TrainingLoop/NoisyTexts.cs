using Influence;

namespace TrainingLoop;

/// <summary>
/// Windows of three languages. Half of each language comes from a careful source, half from a careless one, in which most
/// windows are noise: their bytes shuffled, or a window of another language in their place.
/// </summary>
internal sealed class NoisyTexts
{
    private const int WindowsOfLanguage = 700;
    private const int ValidationOfLanguage = 64;
    private const int HeldOutOfLanguage = 128;
    private const double CarefulNoise = 0.05;
    private const double CarelessNoise = 0.6;
    private const string Foreign = "Russian";

    private static readonly string[] s_languages = ["King James Bible", "Spanish", "Italian"];

    private readonly List<Passage> _train = [];
    private readonly List<bool> _isNoisy = [];
    private readonly List<string> _sources = [];

    private NoisyTexts() { }

    public IReadOnlyList<Passage> Train => _train;

    public IReadOnlyList<bool> IsNoisy => _isNoisy;

    /// <summary>The training windows by language and source.</summary>
    public ExampleGroups Sources => ExampleGroups.Of([.. _train.Index().Select(p => (long)p.Index)], _sources);

    /// <summary>Clean windows of each language, to steer by.</summary>
    public IReadOnlyList<Passage> Validation { get; private set; } = [];

    /// <summary>Clean windows of each language, to judge by.</summary>
    public IReadOnlyList<Passage> HeldOut { get; private set; } = [];

    public static NoisyTexts Read(int seed)
    {
        var texts = new NoisyTexts();
        var foreign = Windows(Foreign, s_languages.Length, seed).ToArray();
        var random = Randomness.For(seed, "noise");
        foreach (var (language, name) in s_languages.Index())
        {
            var windows = Windows(name, language, seed).Take(WindowsOfLanguage + ValidationOfLanguage + HeldOutOfLanguage).ToArray();
            texts.Validation = [.. texts.Validation, .. windows[..ValidationOfLanguage]];
            texts.HeldOut = [.. texts.HeldOut, .. windows[ValidationOfLanguage..(ValidationOfLanguage + HeldOutOfLanguage)]];
            foreach (var (position, window) in windows[(ValidationOfLanguage + HeldOutOfLanguage)..].Index())
            {
                var careful = position % 2 == 0;
                var isNoisy = random.NextDouble() < (careful ? CarefulNoise : CarelessNoise);
                texts._train.Add(
                    !isNoisy ? window
                    : random.Next(2) == 0 ? Shuffled(window, random)
                    : foreign[random.Next(foreign.Length)]
                );
                texts._isNoisy.Add(isNoisy);
                texts._sources.Add($"{name}, {(careful ? "careful" : "careless")}");
            }
        }

        return texts;
    }

    public override string ToString() =>
        $"{_train.Count:N0} windows of {Passage.MostBytes} bytes in {string.Join(", ", s_languages)}, each language from a careful source "
        + $"({CarefulNoise:0%} noise) and a careless one ({CarelessNoise:0%}); {_isNoisy.Count(noisy => noisy):N0} are noise, "
        + $"shuffled bytes or {Foreign}; {Validation.Count} clean ones to steer by, {HeldOut.Count} others to judge by";

    private static Passage[] Windows(string name, int domain, int seed)
    {
        var source = FiveDomains.All.Single(one => one.Name == name);
        var windows = Passage.WindowsOf(domain, source.Read()).ToArray();
        Randomness.For(seed, $"windows of {name}").Shuffle(windows);
        return windows;
    }

    private static Passage Shuffled(Passage window, Random random)
    {
        var bytes = window.Bytes.ToArray();
        random.Shuffle(bytes);
        return window with { Bytes = bytes };
    }
}
