using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

/// <summary>Runs with logits made up for the purpose.</summary>
internal static class Traces
{
    /// <summary>Presents one example with logits, one step for each row.</summary>
    public static void Present(TrainingDynamics dynamics, long id, long label, params double[][] logits)
    {
        using var scope = NewDisposeScope();
        foreach (var row in logits)
        {
            dynamics.Record([id], tensor(row).reshape(1, -1), tensor(new[] { label }));
        }
    }

    /// <summary>Presents one example of label 0 with the label's probability, of two classes.</summary>
    public static void Probabilities(TrainingDynamics dynamics, long id, params double[] probabilities) =>
        Present(dynamics, id, 0, [.. probabilities.Select(p => new[] { Math.Log(p / (1 - p)), 0 })]);

    /// <summary>Presents one example as right (1) or wrong (0).</summary>
    public static void Accuracies(TrainingDynamics dynamics, long id, params int[] right) =>
        Present(dynamics, id, 0, [.. right.Select(r => r == 1 ? new[] { 1.0, 0.0 } : [0.0, 1.0])]);

    /// <summary>Steps of random logits: batches drawn without replacement from as many examples, labels that stay.</summary>
    public static List<Step> Random(int seed, int examples, int batch, int steps, int classes, int positions = 0)
    {
        var random = new Random(seed);
        var length = Math.Max(1, positions);
        var labels = Enumerable
            .Range(0, examples)
            .Select(_ => Enumerable.Range(0, length).Select(_ => (long)random.Next(classes)).ToArray())
            .ToArray();
        return
        [
            .. Enumerable
                .Range(0, steps)
                .Select(_ =>
                {
                    var chosen = Enumerable.Range(0, examples).OrderBy(_ => random.Next()).Take(batch).ToArray();
                    var logits = chosen
                        .Select(_ =>
                            Enumerable
                                .Range(0, length)
                                .Select(_ => Enumerable.Range(0, classes).Select(_ => (6 * random.NextDouble()) - 3).ToArray())
                                .ToArray()
                        )
                        .ToArray();
                    return new Step([.. chosen.Select(i => 1000L - i)], logits, [.. chosen.Select(i => labels[i])], positions);
                }),
        ];
    }

    /// <summary>One step's batch.</summary>
    /// <param name="Ids">The examples.</param>
    /// <param name="Logits">By example, position and class.</param>
    /// <param name="Labels">By example and position.</param>
    /// <param name="Positions">T; 0 for logits [B, C].</param>
    internal sealed record Step(long[] Ids, double[][][] Logits, long[][] Labels, int Positions)
    {
        public void Record(TrainingDynamics dynamics, ScalarType dtype = ScalarType.Float64)
        {
            using var scope = NewDisposeScope();
            var (b, c) = (Ids.Length, Logits[0][0].Length);
            long[] shape = Positions == 0 ? [b] : [b, Positions];
            dynamics.Record(
                Ids,
                tensor(Logits.SelectMany(r => r).SelectMany(r => r).ToArray(), dtype: dtype).reshape([.. shape, c]),
                tensor(Labels.SelectMany(l => l).ToArray()).reshape(shape)
            );
        }
    }
}
