using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Workloads;

namespace Influence.Benchmarks.Reporting;

/// <summary>Makes the rows of the tables of times from what was measured; computations that were not asked for have none.</summary>
internal sealed class TimingRows(Dictionary<string, Samples> samples, Dictionary<string, PeakMemory> memory)
{
    private readonly Samples _plain = samples[Measurement.PlainEpoch];

    /// <summary>The plain epoch, and TracIn.</summary>
    public List<Timing> TracIn(ReferenceRatios reference, NaiveLoop naive) =>
        [
            .. new[]
            {
                Row(Measurement.PlainEpoch, null),
                Row(Measurement.AllPairs, reference.PairsAim),
                Row(Measurement.SelfInfluence, reference.SelfAim),
                Row(
                    Measurement.Naive,
                    null,
                    $"all pairs by a loop over single examples, measured on {naive.TrainSlice} training examples and {naive.QuerySlice} "
                        + "queries and scaled to all."
                ),
            }.OfType<Timing>(),
        ];

    /// <summary>Group influence, with an aim of 1.3 plain epochs of all training examples.</summary>
    public List<Timing> Groups() =>
        [
            .. new[]
            {
                Row(
                    Measurement.Groups,
                    1.3,
                    "TracIn at the current weights, six groups that are mixed in every batch, two groups of queries; the queries' "
                        + "gradients are in it, and standard errors from random parts of each group."
                ),
                Row(Measurement.GroupsWithoutErrors, 1.3),
            }.OfType<Timing>(),
        ];

    /// <summary>K-FAC and EK-FAC.</summary>
    public List<Timing> Influence(ReferenceRatios reference) =>
        [
            .. new[]
            {
                Row(Measurement.KfacFit, null),
                Row(Measurement.KfacPairs, null),
                Sum(Measurement.KfacFitAndPairs, Measurement.KfacFit, Measurement.KfacPairs, reference.Kfac),
                Row(Measurement.KfacStrongest, null),
                Row(Measurement.EkfacFit, null),
                Row(Measurement.EkfacPairs, null),
                Sum(Measurement.EkfacFitAndPairs, Measurement.EkfacFit, Measurement.EkfacPairs, reference.Ekfac),
                Row(Measurement.EkfacStrongest, null),
                Row(Measurement.EkfacExact, null),
                Row(Measurement.EkfacSelf, null),
            }.OfType<Timing>(),
        ];

    /// <summary>Where the time of TracIn goes.</summary>
    public List<PartReport> Parts()
    {
        string[] ofPairs = [Part.Audit, Part.CaptureQueries, Part.KeepQueries, Part.CaptureTrain, Part.Products];
        return
        [
            One(Measurement.PlainEpoch, Measurement.ForwardOnly),
            .. ofPairs.Select(name => One(Measurement.AllPairs, name)),
            Rest(Measurement.AllPairs, ofPairs, "the rest (reading batches, checks, copies)"),
            One(Measurement.SelfInfluence, Part.CaptureTrain),
            Rest(Measurement.SelfInfluence, [Part.CaptureTrain], "norms and the rest"),
        ];

        PartReport One(string computation, string name) =>
            new(computation, name, samples[name].Median, samples[name].Min, samples[name].Median / _plain.Median);

        PartReport Rest(string computation, string[] parts, string name)
        {
            var median = samples[computation].Median - parts.Sum(part => samples[part].Median);
            var min = samples[computation].Min - parts.Sum(part => samples[part].Min);
            return new PartReport(computation, name, median, min, median / _plain.Median);
        }
    }

    private Timing? Row(string name, double? aim, string note = "") =>
        samples.TryGetValue(name, out var own) ? Of(name, [own], note) with { Aim = aim } : null;

    /// <summary>Two steps one after the other: the sum of their medians, and of their fastest and slowest runs.</summary>
    private Timing Sum(string name, string first, string second, FitAndScore reference) =>
        Of(name, [samples[first], samples[second]], string.Empty) with
        {
            Aim = reference.Aim,
            BestOther = reference.BestOther,
            AimPeakMiB = reference.AimMiB,
        };

    private Timing Of(string name, Samples[] steps, string note)
    {
        var (median, min, max) = (steps.Sum(s => s.Median), steps.Sum(s => s.Min), steps.Sum(s => s.Max));
        var peak = memory.GetValueOrDefault(name);
        return new Timing(
            name,
            median,
            min,
            max,
            steps.Min(s => s.Runs),
            median / _plain.Median,
            min / _plain.Min,
            Aim: null,
            peak?.Host,
            peak?.Gpu,
            note
        );
    }
}
