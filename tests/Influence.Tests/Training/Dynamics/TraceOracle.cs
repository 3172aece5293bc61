namespace Influence.Tests.Training;

/// <summary>The scores of a trace by their definitions, from softmaxes in float64 and lists of each example's presentations.</summary>
internal sealed class TraceOracle
{
    private readonly SortedDictionary<long, List<Presentation>> _presentations = [];

    public TraceOracle(IEnumerable<Traces.Step> steps, Range range, double correctShare)
    {
        var all = new Dictionary<long, List<Presentation>>();
        foreach (var step in steps)
        {
            for (var b = 0; b < step.Ids.Length; b++)
            {
                if (!all.TryGetValue(step.Ids[b], out var list))
                {
                    all[step.Ids[b]] = list = [];
                }

                var positions = step.Logits[b].Zip(step.Labels[b], Of).ToList();
                list.Add(
                    new Presentation(
                        positions.Average(p => p.Probability),
                        positions.Average(p => p.Margin),
                        positions.Average(p => p.Loss),
                        positions.Average(p => p.El2n),
                        positions.Count(p => p.Correct) >= correctShare * positions.Count
                    )
                );
            }
        }

        foreach (var (id, list) in all)
        {
            var kept = list.Take(range).ToList();
            if (kept.Count > 0)
            {
                _presentations[id] = kept;
            }
        }
    }

    public List<(long Id, double Value)> Mean(Func<Presentation, double> value) => Each(list => list.Average(value));

    public List<(long Id, double Value)> Count() => Each(list => list.Count(p => p.Correct));

    public List<(long Id, double Value)> Variability() =>
        Each(list =>
            Math.Sqrt(
                list.Average(p => p.Probability * p.Probability) - Math.Pow(list.Average(p => p.Probability), 2) is var v and > 0 ? v : 0
            )
        );

    public List<(long Id, double Value)> Events(double never) =>
        Each(list =>
            list.Any(p => p.Correct) ? Enumerable.Range(1, list.Count - 1).Count(t => list[t - 1].Correct && !list[t].Correct) : never
        );

    private List<(long Id, double Value)> Each(Func<List<Presentation>, double> value) =>
        [.. _presentations.Select(p => (p.Key, value(p.Value)))];

    private static Presentation Of(double[] logits, long label)
    {
        var sum = logits.Sum(Math.Exp);
        var p = logits.Select(u => Math.Exp(u) / sum).ToArray();
        var others = logits.Where((_, j) => j != label).Max();
        var distance = Math.Sqrt(p.Select((q, j) => Math.Pow(q - (j == label ? 1 : 0), 2)).Sum());
        return new Presentation(p[label], logits[label] - others, -Math.Log(p[label]), distance, logits[label] > others);
    }

    internal sealed record Presentation(double Probability, double Margin, double Loss, double El2n, bool Correct);
}
