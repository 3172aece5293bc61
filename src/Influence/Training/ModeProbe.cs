using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// Finds out what a model does in the mode that a loop has it in, once for each set of modules that are in training mode. A
/// model's own code may ask for its mode (functional dropout, mixup), so losses are compared; nothing that they move stays moved.
/// </summary>
internal sealed class ModeProbe(InfluenceTask task, TrainingSession session)
{
    private const int Examples = 8;

    private static readonly ModeFacts Evaluation = new(WritesInPlace: false, Mixes: false, IsDeterministic: true);

    // What one example does says nothing of whether several are mixed: it is kept apart.
    private readonly Dictionary<(string Modules, bool IsAlone), ModeFacts> _found = [];

    /// <summary>What is known of the model's present mode; null before a batch was probed in it.</summary>
    public ModeFacts? Known()
    {
        var training = InTraining();
        return training.Count == 0
            ? Evaluation
            : _found.GetValueOrDefault((Key(training), false)) ?? _found.GetValueOrDefault((Key(training), true));
    }

    /// <summary>What the model does in its present mode.</summary>
    /// <param name="batch">A batch to find out with, where it is not known.</param>
    public ModeFacts Of(ExampleBatch batch)
    {
        var training = InTraining();
        if (training.Count == 0)
        {
            return Evaluation;
        }

        var key = (Key(training), batch.Count == 1);
        return _found.TryGetValue(key, out var known) ? known : _found[key] = Find(batch, training);
    }

    /// <summary>Takes back that the present mode is deterministic: it drew random numbers after all.</summary>
    public void IsRandom()
    {
        var modules = Key(InTraining());
        foreach (var key in _found.Keys.Where(key => key.Modules == modules).ToList())
        {
            _found[key] = _found[key] with { IsDeterministic = false };
        }
    }

    private static string Key(List<(string Path, nn.Module Module)> training) => string.Join('\n', training.Select(m => m.Path));

    private List<(string Path, nn.Module Module)> InTraining() => [.. ModelParameter.Modules(task.Model).Where(m => m.Module.training)];

    private ModeFacts Find(ExampleBatch batch, List<(string Path, nn.Module Module)> training)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var state = new UndisturbedState(task.Model);
        var some = batch.Pick([.. Enumerable.Range(0, Math.Min(batch.Count, Examples))]);
        var writes = session.WritesInPlace(some, LossKind.Training);
        var mixes = training.Any(m => ModelChecks.Mixes(m.Module)) || Mixes(some, state);
        var random = training.Any(m => ModelChecks.MixesOrIsRandom(m.Module));
        return new ModeFacts(writes, mixes, !mixes && !random && IsDeterministic(some, state));
    }

    /// <summary>Whether the first half's losses move when the other half is exchanged, under the same random numbers.</summary>
    private bool Mixes(ExampleBatch some, UndisturbedState state)
    {
        var half = (some.Count + 1) / 2;
        if (half == some.Count)
        {
            return false;
        }

        var other = some.Pick([.. Enumerable.Range(0, some.Count).Select(i => i < half ? i : 0)]);
        for (var trial = 0; trial < 2; trial++)
        {
            // The second trial draws other partners where examples are mixed in a random order.
            var before = Losses(some, trial);
            if (!before.SequenceEqual(Losses(some, trial)))
            {
                // Random by numbers that cannot be rewound: nothing can be told.
                return false;
            }

            // Kernels may round a row otherwise beside others.
            var rounding =
                session.Dtype == ScalarType.Float64 ? 1e-12
                : session.Dtype == ScalarType.Float32 ? 1e-5
                : 1e-2;
            var after = Losses(other, trial);
            if (before.Take(half).Zip(after).Any(pair => !(Math.Abs(pair.First - pair.Second) <= rounding * (1 + Math.Abs(pair.First)))))
            {
                return true;
            }
        }

        return false;

        double[] Losses(ExampleBatch batch, int skipped)
        {
            state.RewindRandom();
            for (var k = 0; k < skipped; k++)
            {
                using var drawn = rand(1);
            }

            return session.LossValues(batch, LossKind.Training);
        }
    }

    private bool IsDeterministic(ExampleBatch some, UndisturbedState state)
    {
        state.RewindRandom();
        var training = session.LossValues(some, LossKind.Training);
        state.RewindRandom();
        using var evaluation = new EvaluationMode(task.Model);
        return training.SequenceEqual(session.LossValues(some, LossKind.Training));
    }
}
