using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

/// <summary>Bad input: a message that names it, and nothing recorded.</summary>
public sealed class BadTrainingDynamicsTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TrainingDynamics _dynamics = new();

    public void Dispose()
    {
        _dynamics.Dispose();
        _scope.Dispose();
    }

    public static TheoryData<string, string> Cases =>
        new()
        {
            { "ids", "found 3 ids where the logits have rows: 2" },
            { "float labels", "Labels are class indices of type Int64; found Float32. Write labels.to_type(ScalarType.Int64)." },
            { "integer logits", "Logits are floating point" },
            { "label shape", "found logits [2, 3] and labels [2, 1]" },
            { "vector", "found logits [2] and labels [2]" },
            { "mask", "The mask has the shape of the labels, [2]; found [3]" },
            { "one class", "at least two classes" },
            { "classes", "The logits have 4 classes; the steps before had 3" },
            { "empty", "found 0 ids" },
            { "no positions", "at least one position" },
        };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Steps(string name, string message)
    {
        _dynamics.Record([4, 5], ones(2, 3), tensor([0L, 1L]));
        var labels = tensor([0L, 1L]);
        var exception = Assert.Throws<InfluenceException>(() =>
        {
            switch (name)
            {
                case "ids":
                    _dynamics.Record([4, 5, 6], ones(2, 3), labels);
                    break;
                case "float labels":
                    _dynamics.Record([4, 5], ones(2, 3), ones(2));
                    break;
                case "integer logits":
                    _dynamics.Record([4, 5], ones(2, 3, dtype: ScalarType.Int64), labels);
                    break;
                case "label shape":
                    _dynamics.Record([4, 5], ones(2, 3), labels.unsqueeze(1));
                    break;
                case "vector":
                    _dynamics.Record([4, 5], ones(2), labels);
                    break;
                case "mask":
                    _dynamics.Record([4, 5], ones(2, 3), labels, ones(3));
                    break;
                case "one class":
                    _dynamics.Record([4, 5], ones(2, 1), labels);
                    break;
                case "classes":
                    _dynamics.Record([4, 5], ones(2, 4), labels);
                    break;
                case "empty":
                    _dynamics.Record([], ones(0, 3), ones(0, dtype: ScalarType.Int64));
                    break;
                default:
                    _dynamics.Record([4, 5], ones(2, 0, 3), ones(2, 0, dtype: ScalarType.Int64));
                    break;
            }
        });
        Assert.Contains(message, exception.Message, StringComparison.Ordinal);
        Assert.Equal((1L, 2L, 2), (_dynamics.StepCount, _dynamics.PresentationCount, _dynamics.ExampleCount));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AllProblemsAtOnce(bool mask)
    {
        var message = Assert.Throws<InfluenceException>(() => _dynamics.Record([1], ones(2, 3), ones(2), mask ? ones(5) : null)).Message;
        Assert.StartsWith(mask ? "3 problems" : "2 problems", message, StringComparison.Ordinal);
    }

    /// <summary>Found at once on the CPU, and when the step is fetched elsewhere; then the good steps before and after stay.</summary>
    [Theory]
    [InlineData(3, false)]
    [InlineData(3, true)]
    [InlineData(20_000, false)]
    public void BadContentsAreNamed(int classes, bool wait)
    {
        foreach (var value in new[] { double.NaN, double.PositiveInfinity })
        {
            foreach (var column in new[] { 0, 1 })
            {
                using var dynamics = new TrainingDynamics { AlwaysWait = wait };
                dynamics.Record([1, 2], ones(2, classes), tensor([0L, 1L]));
                var broken = ones(3, classes);
                broken[1, column] = value;
                var exception = Assert.Throws<InfluenceException>(() =>
                {
                    dynamics.Record([10, 11, 12], broken, tensor([0L, 0L, 0L]));
                    dynamics.Record([1, 3], ones(2, classes), tensor([0L, 1L]));
                    dynamics.El2n();
                });
                Assert.Equal([11], exception.ExampleIds);
                Assert.Contains("The logits of examples 11 are NaN or infinite in step 2", exception.Message, StringComparison.Ordinal);
                Assert.Equal(wait ? [1, 2, 3] : [1, 2], dynamics.El2n().Ids);
            }
        }

        foreach (var label in new long[] { -1, classes })
        {
            using var dynamics = new TrainingDynamics { AlwaysWait = wait };
            var exception = Assert.Throws<InfluenceException>(() =>
            {
                dynamics.Record([10, 11], ones(2, classes), tensor([0L, label]));
                dynamics.El2n();
            });
            Assert.Equal([11], exception.ExampleIds);
            Assert.Contains($"Labels go from 0 to {classes - 1}", exception.Message, StringComparison.Ordinal);
            Assert.Equal(0, dynamics.PresentationCount);
        }
    }

    /// <summary>What waited is found to be wrong when the present step, on the CPU, comes: that one is kept, and so are the
    /// norms.</summary>
    [Fact]
    public void AFaultThatWaitedCostsNobodyElse()
    {
        using var dynamics = new TrainingDynamics { AlwaysWait = true, FetchEverySteps = 3 };
        dynamics.Record([1, 2], ones(2, 3), tensor([0L, 7L]));
        dynamics.RecordGradientNorms([1, 2], tensor([1f, float.NaN]));
        dynamics.Record([1, 3], ones(2, 3), tensor([0L, 1L]));
        dynamics.RecordGradientNorms([1, 3], tensor([2f, 3f]));
        Assert.Equal(2, dynamics.StepCount);
        var exception = Assert.Throws<InfluenceException>(() => dynamics.Record([4], ones(1, 3), tensor([0L])));
        Assert.Equal([2], exception.ExampleIds);
        Assert.Contains("Labels go from 0 to 2", exception.Message, StringComparison.Ordinal);
        Assert.Contains("Gradient norms are at least 0", exception.Message, StringComparison.Ordinal);
        Assert.Equal((2L, 3L, 3), (dynamics.StepCount, dynamics.PresentationCount, dynamics.ExampleCount));
        Assert.Equal([1, 3, 4], dynamics.El2n().Ids);
        Assert.Equal([2, 3], dynamics.Grand().Values);
    }

    /// <summary>A class that is masked out has a logit of minus infinity: fine, unless it is the label.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ClassesMayBeMaskedOut(bool wait)
    {
        using var dynamics = new TrainingDynamics { AlwaysWait = wait };
        var logits = tensor(
            new float[,]
            {
                { 1, float.NegativeInfinity, 0 },
            }
        );
        dynamics.Record([1], logits, tensor([0L]));
        Assert.Equal(Math.Log(1 + Math.Exp(-1)), dynamics.MeanLoss()[0], 1e-6);
        Assert.Throws<InfluenceException>(() =>
        {
            dynamics.Record([1], logits, tensor([1L]));
            dynamics.MeanLoss();
        });
    }

    [Fact]
    public void RangesBeyondWhatIsRecorded()
    {
        Assert.Contains(
            "dynamics.Record(ids, logits, labels)",
            Assert.Throws<InfluenceException>(() => _dynamics.El2n()).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "RecordGradientNorms",
            Assert.Throws<InfluenceException>(() => _dynamics.Grand()).Message,
            StringComparison.Ordinal
        );
        Traces.Probabilities(_dynamics, 1, 0.2, 0.4, 0.9);
        Traces.Probabilities(_dynamics, 2, 0.2);
        foreach (var range in new Range[] { ..4, 3.., ^4.., 3..4, ..^3 })
        {
            Assert.Contains(
                "no example has more than 3",
                Assert.Throws<InfluenceException>(() => _dynamics.El2n(range)).Message,
                StringComparison.Ordinal
            );
        }

        foreach (var range in new Range[] { 2..2, 2..1 })
        {
            Assert.Contains(
                "is empty",
                Assert.Throws<InfluenceException>(() => _dynamics.Cartography(range)).Message,
                StringComparison.Ordinal
            );
        }

        Assert.Contains(
            "No example has a presentation",
            Assert.Throws<InfluenceException>(() => _dynamics.El2n(2..^1)).Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>An example that came less often takes part with what it has, and the notes say so.</summary>
    [Fact]
    public void ExamplesThatCameLessOften()
    {
        Traces.Probabilities(_dynamics, 1, 0.2, 0.4, 0.9);
        Traces.Probabilities(_dynamics, 2, 0.5, 0.7);
        Traces.Probabilities(_dynamics, 3, 0.5);
        var all = _dynamics.Cartography().Confidence;
        Assert.Equal([1, 2, 3], all.Ids);
        Assert.Equal(0.6, all[1], 1e-6);
        Assert.Equal("presentations 0..^0 of each example, 3 of them; 2 of 3 examples have fewer, at least 1", all.Metadata.Notes);
        var later = _dynamics.Cartography(1..3).Confidence;
        Assert.Equal([1, 2], later.Ids);
        Assert.Equal(
            "presentations 1..3 of each example, 2 of them; 1 of 2 examples have fewer, at least 1; 1 examples have none there "
                + "and are left out",
            later.Metadata.Notes
        );
        Assert.Equal("presentations ^1..^0 of each example, 1 of them", _dynamics.LastLoss().Metadata.Notes);
    }

    [Fact]
    public void GradientNorms()
    {
        Assert.Contains(
            "found Int64",
            Assert.Throws<InfluenceException>(() => _dynamics.RecordGradientNorms([1], tensor([1L]))).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "found 2 ids",
            Assert.Throws<InfluenceException>(() => _dynamics.RecordGradientNorms([1, 2], ones(3))).Message,
            StringComparison.Ordinal
        );
        var exception = Assert.Throws<InfluenceException>(() => _dynamics.RecordGradientNorms([1, 2, 3], tensor([1, -1, float.NaN])));
        Assert.Equal([2, 3], exception.ExampleIds);
        Assert.Throws<InfluenceException>(() => _dynamics.Grand());
    }

    [Fact]
    public void Settings()
    {
        Assert.Throws<InfluenceException>(() => new TrainingDynamics { CorrectShare = 0 });
        Assert.Throws<InfluenceException>(() => new TrainingDynamics { FetchEverySteps = 0 });
        Assert.Throws<InfluenceException>(() => new AumThreshold { Percentile = 1.5 });
        Assert.Throws<InfluenceException>(() => new DataMap { MaximumPoints = 0 });
    }
}
