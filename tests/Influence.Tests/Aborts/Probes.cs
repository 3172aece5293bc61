using Influence.Curvature;
using Influence.Estimators;
using Influence.Scorers;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Tests.Aborts;

/// <summary>Public calls that meet an error of libtorch in a backward pass, a delegate that fails, or a model in use.</summary>
internal static class Probes
{
    /// <summary>How an answer ends where the model is as it was found.</summary>
    public const string AsFound = "[the model is as it was found]";

    private const string InPlace = "modified by an inplace operation";
    private const string Freed = "second time";
    private const string NoDerivative = "not implemented";
    private const string Memory = "Memory ran out: lower the batch size";

    private static readonly Dictionary<string, (string Expected, Action<Classifier> Call)> s_probes = new()
    {
        ["TracIn, in-place write"] = (InPlace, c => new TracIn().Score(c.Task(b => WritesInPlace(c, b)), c.Train, c.Queries)),
        ["TracIn, no derivative"] = (NoDerivative, c => new TracIn().Score(c.Task(b => HasNoDerivative(c, b)), c.Train, c.Queries)),
        ["TracIn, the delegate calls backward"] = (Freed, c => new TracIn().Score(c.Task(b => CallsBackward(c, b)), c.Train, c.Queries)),
        ["TracIn, out of memory"] = (Memory, c => new TracIn().Score(c.Task(b => NeedsTooMuch(c, b)), c.Train, c.Queries)),
        ["TracIn, only later batches write in place"] = (
            InPlace,
            c => new TracIn().Score(c.Task(b => b.Ids[0] >= 4 ? WritesInPlace(c, b) : c.Loss(b)), Batches(c), c.Queries)
        ),
        ["TracIn, the delegate throws"] = (
            "TrainingLoss failed: no such label",
            c =>
                new TracIn().Score(
                    c.Task(b => b.Ids[0] >= 4 ? throw new InvalidOperationException("no such label") : c.Loss(b)),
                    Batches(c),
                    c.Queries
                )
        ),
        ["TracIn, a hook throws"] = ("failed: no such layer", c => WithHook(c, () => new TracIn().Score(c.Task(), Batches(c), c.Queries))),
        ["single examples, in-place write"] = (
            InPlace,
            c => new TracIn().Score(c.Task(b => WritesInPlace(c, b, Elsewhere(c, b))), c.Train, c.Queries)
        ),
        ["EK-FAC, no derivative"] = (
            NoDerivative,
            c => Ekfac.Fit(c.Task(b => HasNoDerivative(c, b)), c.Train, new Ekfac.Options { Fisher = Fisher.Empirical }).Dispose()
        ),
        ["Hessian, the delegate calls backward"] = (Freed, c => ConjugateGradient.Fit(c.Task(b => CallsBackward(c, b)), c.Train).Dispose()),
        ["Hessian, out of memory"] = (Memory, c => ConjugateGradient.Fit(c.Task(b => NeedsTooMuch(c, b)), c.Train).Dispose()),
        ["training step, in-place write"] = (InPlace, c => Step(c, b => WritesInPlace(c, b, writes: b.Count > 2))),
        ["training step, out of memory"] = (Memory, c => Step(c, b => b.Count > 2 ? NeedsTooMuch(c, b) : c.Loss(b))),
        ["progress begins another call"] = (
            "the progress callback of that call began this one",
            c => new TracIn().Score(c.Task(), c.Train, c.Queries, new Reports(_ => new ExampleLosses().Score(c.Task(), c.Train)))
        ),
        ["the loss begins another call"] = (
            "TrainingLoss of that call began this one",
            c =>
                new TracIn().Score(
                    c.Task(b =>
                    {
                        new ExampleLosses().Score(c.Task(), c.Train);
                        return c.Loss(b);
                    }),
                    c.Train,
                    c.Queries
                )
        ),
        ["another thread begins a call"] = (
            "on another thread",
            c =>
                new TracIn().Score(
                    c.Task(),
                    c.Train,
                    c.Queries,
                    new Reports(_ => OnAnotherThread(() => new TracIn().SelfInfluence(c.Task(), c.Train)))
                )
        ),
    };

    public static IReadOnlyDictionary<string, Func<string>> All { get; } =
        s_probes.ToDictionary(probe => probe.Key, probe => (Func<string>)(() => Answer(probe.Value.Call)));

    public static IReadOnlyDictionary<string, string> Expected { get; } =
        s_probes.ToDictionary(probe => probe.Key, probe => probe.Value.Expected);

    /// <summary>TorchSharp's own calls that end the process.</summary>
    public static IReadOnlyDictionary<string, Action> Unguarded { get; } =
        new Dictionary<string, Action>
        {
            ["autograd.grad"] = () =>
            {
                var x = ones(3, requires_grad: true);
                var y = x.exp().sum();
                autograd.grad([y], [x]);
                autograd.grad([y], [x]);
            },
        };

    private static string Answer(Action<Classifier> call)
    {
        using var classifier = new Classifier();
        var before = ModelState.Of(classifier.Model, classifier.X);
        var answer = "nothing was thrown";
        try
        {
            call(classifier);
        }
        catch (Exception exception)
        {
            answer = $"{exception.GetType().Name}: {exception.Message}";
        }

        try
        {
            before.AssertUnchanged(classifier.Model, classifier.X);
            return $"{answer} {AsFound}";
        }
        catch (Exception exception)
        {
            return $"{answer} [changed: {exception.Message}]";
        }
    }

    private static Examples Batches(Classifier c) => c.Train with { BatchSize = 4 };

    private static Tensor WritesInPlace(Classifier c, ExampleBatch batch, Tensor? logits = null, bool writes = true)
    {
        var e = (logits ?? c.Model.call(batch["x"])).exp();
        var loss = e.Squared().sum(1);
        if (writes)
        {
            e.add_(1);
        }

        return loss;
    }

    private static Tensor Elsewhere(Classifier c, ExampleBatch batch) => nn.functional.linear(batch["x"], c.Hidden.weight!);

    private static Tensor HasNoDerivative(Classifier c, ExampleBatch batch) =>
        special.gammainc(c.Model.call(batch["x"]).exp(), 1 + zeros_like(c.Head.bias!)).sum(1);

    private static Tensor CallsBackward(Classifier c, ExampleBatch batch)
    {
        var loss = c.Loss(batch);
        if (loss.requires_grad)
        {
            loss.sum().backward();

            // What its own backward pass leaves in .grad is the delegate's doing.
            c.Model.zero_grad();
        }

        return loss;
    }

    /// <summary>Forward is a view; backward makes room for all that the view leaves out.</summary>
    private static Tensor NeedsTooMuch(Classifier c, ExampleBatch batch) =>
        c.Loss(batch).unsqueeze(0).expand(1L << 44, batch.Count).select(0, 0);

    private static void Step(Classifier c, Func<ExampleBatch, Tensor> loss)
    {
        foreach (var batch in c.Train.Batches().Take(1))
        {
            using var loop = TrainingGradients.Open(c.Task(loss), batch);
            using var step = loop.Step(batch);
        }
    }

    private static void WithHook(Classifier c, Action call)
    {
        var calls = 0;
        var hook = c.Head.register_forward_hook(
            (_, _, output) => ++calls > 8 ? throw new InvalidOperationException("no such layer") : output.alias()
        );
        try
        {
            call();
        }
        finally
        {
            hook.remove();
        }
    }

    private static void OnAnotherThread(Action call)
    {
        Exception? thrown = null;
        var thread = new Thread(() =>
        {
            try
            {
                call();
            }
            catch (InfluenceException exception)
            {
                thrown = exception;
            }
        });
        thread.Start();
        thread.Join();
        if (thrown is not null)
        {
            throw thrown;
        }
    }
}
