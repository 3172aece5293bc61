using Influence.Estimators;
using Influence.Scorers;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Scorers;

/// <summary>Influence by one optimizer step on an example, from weights and optimizer state that stay as they were.</summary>
public class ProbeOracleTests
{
    /// <summary>SGD with a small rate eta: eta times the gradient dot product with the mean reference gradient.</summary>
    [Fact]
    public void ASmallStepOfSgdIsTheRateTimesTracIn()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 7, queries: 3);
        const double Rate = 1e-8;
        using var tracIn = new TracIn().Score(c.Task(), c.Train, c.Queries);
        var expected = tracIn.Values.mean([0L]).data<double>().ToArray();

        var measured = new ProbeOracle { Reference = c.Queries, Optimizer = Sgd(Rate) }.Score(c.Task(), c.Train);

        // The second order is the rate times a curvature of order ten, 1e-7 of the value; rounding of the loss, 1e-16 over 1e-8, is less.
        var largest = expected.Max(Math.Abs);
        for (var i = 0; i < 7; i++)
        {
            Assert.Equal(expected[i], measured[i] / Rate, 1e-6 * largest);
        }

        Assert.Equal(c.Train.Ids, measured.Ids);
    }

    /// <summary>By hand: a copy of the model and of its Adam, one step, two losses. The running optimizer is not touched.</summary>
    [Fact]
    public void AdamGoesOnFromItsState()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 5, queries: 3);
        using var adam = optim.Adam(c.Model.parameters(), 0.01);
        for (var step = 0; step < 3; step++)
        {
            adam.zero_grad();
            Backward(c, c.Train);
            adam.step();
        }

        var state = ModelState.Of(c.Model, c.X);
        var saved = Bytes(adam);

        var measured = new ProbeOracle { Reference = c.Queries, Optimizer = Like(adam) }.Score(c.Task(), c.Train);

        Assert.Equal(saved, Bytes(adam));
        state.AssertUnchanged(c.Model, c.X);
        for (var i = 0; i < 5; i++)
        {
            Assert.Equal(ByHand(c, adam, i), measured[i], 1e-14);
        }

        // A fresh Adam divides by another second moment: the state does count.
        var fresh = new ProbeOracle { Reference = c.Queries, Optimizer = model => optim.Adam(model.parameters(), 0.01) }.Score(
            c.Task(),
            c.Train
        );
        Assert.True(Math.Abs(fresh[0] - measured[0]) > 1e-4);
    }

    /// <summary>Batches, their order, and gradients that are there already, change nothing.</summary>
    [Fact]
    public void ProbesDoNotDependOnEachOther()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 5, queries: 3);
        var together = new ProbeOracle { Reference = c.Queries, Optimizer = Sgd(0.5) }.Score(c.Task(), c.Train);
        Backward(c, c.Train);
        var state = ModelState.Of(c.Model, c.X);
        foreach (var id in new long[] { 4, 0, 2 })
        {
            var alone = new ProbeOracle { Reference = c.Queries with { BatchSize = 2 }, Optimizer = Sgd(0.5) }.Score(
                c.Task(),
                c.Train.Only([id]) with
                {
                    BatchSize = 1,
                }
            );

            // The reference loss is summed in another order.
            Assert.Equal(together[(int)id], alone[0], 1e-14);
        }

        state.AssertUnchanged(c.Model, c.X);
    }

    [Fact]
    public void TheModelIsAsBeforeAfterAFailureOrACancellation()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 5, queries: 3);
        Backward(c, c.Train);
        var state = ModelState.Of(c.Model, c.X);

        using var source = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() =>
            new ProbeOracle { Reference = c.Queries, Optimizer = Sgd(0.5) }.Score(
                c.Task(),
                c.Train,
                new Reports(_ => source.Cancel()),
                source.Token
            )
        );
        state.AssertUnchanged(c.Model, c.X);

        var calls = 0;
        Assert.Throws<InfluenceException>(() =>
            new ProbeOracle { Reference = c.Queries, Optimizer = Sgd(0.5) }.Score(
                c.Task(b => ++calls == 4 ? throw new InvalidOperationException("no") : c.Loss(b)),
                c.Train
            )
        );
        state.AssertUnchanged(c.Model, c.X);
    }

    [Fact]
    public void NothingStaysAlive()
    {
        using var c = new Classifier(train: 4, queries: 3);
        new ProbeOracle { Reference = c.Queries, Optimizer = Sgd(0.5) }.Score(c.Task(), c.Train);
        var before = LiveTensors.OnThisThread;
        new ProbeOracle { Reference = c.Queries, Optimizer = model => optim.Adam(model.parameters(), 0.1) }.Score(c.Task(), c.Train);
        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    [Fact]
    public void BadInputIsNamed()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 4, queries: 3);
        var state = ModelState.Of(c.Model, c.X);
        var tooLarge = Assert.Throws<InfluenceException>(() =>
            new ProbeOracle { Reference = c.Queries, Optimizer = Sgd(1e300) }.Score(c.Task(b => c.Loss(b) * 1e10), c.Train)
        );
        Assert.Equal([0], tooLarge.ExampleIds);
        Assert.Throws<InfluenceException>(() => new ProbeOracle { Reference = c.Queries, Optimizer = _ => null! }.Score(c.Task(), c.Train));
        Assert.Throws<InfluenceException>(() =>
            new ProbeOracle { Reference = c.Queries, Optimizer = Sgd(0.1) }.Score(c.Task(b => c.Loss(b).detach()), c.Train)
        );
        Assert.Throws<InfluenceException>(() =>
            new ProbeOracle { Reference = c.Queries, Optimizer = Sgd(0.1) }.Score(c.Task(b => c.Loss(b).sum()), c.Train)
        );
        state.AssertUnchanged(c.Model, c.X);
        c.Model.train();
        using var dropout = new Composite(x => x, ("dropout", nn.Dropout()), ("layer", nn.Linear(2, 2)));
        Assert.Contains(
            "model.eval()",
            Assert
                .Throws<InfluenceException>(() =>
                    new ProbeOracle { Reference = c.Queries, Optimizer = Sgd(0.1) }.Score(
                        new InfluenceTask(dropout) { TrainingLoss = c.Loss },
                        c.Train
                    )
                )
                .Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>The running optimizer itself is not stepped: it is refused before the first probe, and goes on as it was.</summary>
    [Fact]
    public void TheRunningOptimizerIsRefused()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 4, queries: 3);
        using var adam = optim.Adam(c.Model.parameters(), 0.01);
        Backward(c, c.Train);
        adam.step();
        var (state, saved) = (ModelState.Of(c.Model, c.X), Bytes(adam));
        Assert.Contains(
            "the same object twice",
            Assert
                .Throws<InfluenceException>(() => new ProbeOracle { Reference = c.Queries, Optimizer = _ => adam }.Score(c.Task(), c.Train))
                .Message,
            StringComparison.Ordinal
        );
        Assert.Equal(saved, Bytes(adam));
        state.AssertUnchanged(c.Model, c.X);
        adam.step();
    }

    /// <summary>Adam over the trainable parameters, whose state does not fit one over all; and momentum that never stepped.</summary>
    [Fact]
    public void AnOptimizerThatCannotBeMadeIsExplained()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 4, queries: 3);
        c.Hidden.weight.requires_grad_(false);
        using var adam = optim.Adam(c.Model.parameters().Where(p => p.requires_grad), 0.01);
        Backward(c, c.Train);
        adam.step();
        Assert.Contains(
            "Where(p => p.requires_grad)",
            Assert
                .Throws<InfluenceException>(() =>
                    new ProbeOracle { Reference = c.Queries, Optimizer = Like(adam) }.Score(c.Task(), c.Train)
                )
                .Message,
            StringComparison.Ordinal
        );
        Assert.Equal(
            4,
            new ProbeOracle
            {
                Reference = c.Queries,
                Optimizer = model =>
                {
                    var probe = optim.Adam(model.parameters().Where(p => p.requires_grad));
                    probe.load_state_dict(adam.state_dict());
                    return probe;
                },
            }
                .Score(c.Task(), c.Train)
                .Count
        );
        Assert.Contains(
            "optimizer failed: no",
            Assert
                .Throws<InfluenceException>(() =>
                    new ProbeOracle { Reference = c.Queries, Optimizer = _ => throw new InvalidOperationException("no") }.Score(
                        c.Task(),
                        c.Train
                    )
                )
                .Message,
            StringComparison.Ordinal
        );
    }

    private static Func<nn.Module, optim.Optimizer> Sgd(double rate) => model => optim.SGD(model.parameters(), rate);

    private static Func<nn.Module, optim.Optimizer> Like(TorchSharp.Modules.Adam adam) =>
        model =>
        {
            var probe = optim.Adam(model.parameters());
            probe.load_state_dict(adam.state_dict());
            return probe;
        };

    private static double ByHand(Classifier c, TorchSharp.Modules.Adam adam, int i)
    {
        using var scope = NewDisposeScope();
        using var copy = new Classifier(train: 5, queries: 3);
        copy.Model.load_state_dict(c.Model.state_dict());
        using var own = Like(adam)(copy.Model);
        var before = Reference(copy);
        var x = Examples.FromTensors(("x", c.X.narrow(0, i, 1)), ("y", c.Y.narrow(0, i, 1)));
        Backward(copy, x);
        own.step();
        return before - Reference(copy);
    }

    private static double Reference(Classifier c)
    {
        using var noGrad = no_grad();
        return c.PlainLoss([c.QueryX, c.QueryY]).mean().item<double>();
    }

    private static void Backward(Classifier c, Examples examples)
    {
        foreach (var batch in examples.Batches())
        {
            c.Loss(batch).sum().backward();
        }
    }

    private static byte[] Bytes(TorchSharp.Modules.OptimizerHelper optimizer)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        optimizer.save_state_dict(writer);
        writer.Flush();
        return stream.ToArray();
    }
}
