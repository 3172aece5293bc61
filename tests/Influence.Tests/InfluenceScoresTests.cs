using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests;

public sealed class InfluenceScoresTests : IDisposable
{
    private static readonly double[,] s_values =
    {
        { 1, 3, -2, 3 },
        { 0, -1, -1, 0.5 },
    };
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    /// <summary>Ties go to the lowest position.</summary>
    [Fact]
    public void ProponentsAndOpponents()
    {
        using var scores = Make();

        Assert.Equal([11, 13, 10, 12], scores.Proponents(0).Ids);
        Assert.Equal([12, 10, 11, 13], scores.Opponents(0).Ids);
        Assert.Equal([11, 12, 10, 13], scores.Opponents(1).Ids);
        Assert.Equal([1, 2], scores.Proponents(0, 2).Select(e => e.Rank));
        Assert.Equal([3.0, 3.0], scores.Proponents(0, 2).Select(e => e.Score));
        Assert.Empty(scores.Proponents(0, 0));
        Assert.Equal(4, scores.Proponents(0, 100).Count);
    }

    /// <summary>By hand: means 1.25 and -0.375; a query without spread has no correlation.</summary>
    [Fact]
    public void QueriesAreCorrelatedOverAllExamples()
    {
        using var scores = Make();
        var found = scores.QueryCorrelations();
        double[] a = [-0.25, 1.75, -3.25, 1.75],
            b = [0.375, -0.625, -0.625, 0.875];
        var expected = a.Zip(b).Sum(pair => pair.First * pair.Second) / Math.Sqrt(a.Sum(x => x * x) * b.Sum(x => x * x));
        Assert.Equal(1, found[0, 0], 1e-12);
        Assert.Equal(expected, found[0, 1], 1e-12);
        Assert.Equal(expected, found[1, 0], 1e-12);
        using var flat = new InfluenceScores(zeros(2, 3), [0, 1], [0, 1, 2], scores.Metadata);
        Assert.True(double.IsNaN(flat.QueryCorrelations()[0, 1]));
    }

    [Fact]
    public void NotANumberRanksLastOnBothSides()
    {
        using var scores = new InfluenceScores(
            tensor(
                new[,]
                {
                    { double.NaN, 1, 2 },
                }
            ),
            [0],
            [7, 8, 9],
            Metadata()
        );
        Assert.Equal([9, 8, 7], scores.Proponents(0).Ids);
        Assert.Equal([8, 9, 7], scores.Opponents(0).Ids);
    }

    [Fact]
    public void RowsColumnsAndEntries()
    {
        using var scores = Make();
        Assert.Equal([1, 3, -2, 3], scores.ForQuery(0).Values);
        Assert.Equal([10, 11, 12, 13], scores.ForQuery(0).Ids);
        Assert.Equal([-2, -1], scores.ForExample(2).Values);
        Assert.Equal([5, 6], scores.ForExample(2).Ids);
        Assert.Equal(0.5, scores[1, 3]);
        Assert.Equal(1, scores.RowOf(6));
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float64)]
    public void SafetensorsKeepIdsAndMetadata(ScalarType dtype)
    {
        using var scores = Make(dtype);
        scores.Save(_folder.Path("s.safetensors"));
        using var read = InfluenceScores.Load(_folder.Path("s.safetensors"));

        Assert.Equal(dtype, read.Values.dtype);
        Assert.True(read.Values.eq(scores.Values).all().item<bool>());
        Assert.Equal(scores.QueryIds, read.QueryIds);
        Assert.Equal(scores.TrainIds, read.TrainIds);
        Assert.Equal(scores.Metadata, read.Metadata);
    }

    [Fact]
    public void NpyKeepsTheArrayOnly()
    {
        using var scores = Make(ScalarType.Float32);
        scores.Save(_folder.Path("s.NPY"));
        using var read = InfluenceScores.Load(_folder.Path("s.NPY"));

        Assert.True(read.Values.eq(scores.Values).all().item<bool>());
        Assert.Equal([0, 1], read.QueryIds);
        Assert.Equal([0, 1, 2, 3], read.TrainIds);
        Assert.Equal("unknown", read.Metadata.Estimator);
        Assert.StartsWith("unverified", read.Metadata.Integrity, StringComparison.Ordinal);
    }

    [Fact]
    public void CsvOfTheTop()
    {
        using var scores = Make();
        scores.SaveTopCsv(_folder.Path("s.csv"), k: 2);

        Assert.Equal(
            "query_id,kind,rank,train_id,score\n5,proponent,1,11,3\n5,proponent,2,13,3\n5,opponent,1,12,-2\n5,opponent,2,10,1\n6,proponent,1,13,0.5\n6,proponent,2,10,0\n6,opponent,1,11,-1\n6,opponent,2,12,-1\n",
            File.ReadAllText(_folder.Path("s.csv"))
        );
        Assert.Equal((byte)'q', File.ReadAllBytes(_folder.Path("s.csv"))[0]);
    }

    [Fact]
    public void BadArguments()
    {
        using var scores = Make();
        Refused("not -1", () => scores.Proponents(0, -1));
        Refused("not -1", () => scores.Opponents(0, -1));
        Refused("no row 2", () => scores.Proponents(2));
        Refused("no row -1", () => scores.ForQuery(-1));
        Refused("no column 4", () => scores.ForExample(4));
        Refused("no column 4", () => _ = scores[0, 4]);
        Refused("id 99", () => scores.RowOf(99));
        Refused("not -3", () => scores.SaveTopCsv(_folder.Path("s.csv"), -3));
        Assert.Empty(_folder.Files);
    }

    [Fact]
    public void ValuesThatDoNotFitTheIds()
    {
        Refused("[2, 3]; found [2, 4]", () => _ = new InfluenceScores(tensor(s_values), [5, 6], [1, 2, 3], Metadata()));
        Refused(
            "float32 or float64",
            () => _ = new InfluenceScores(tensor(s_values).to_type(ScalarType.Int64), [5, 6], [1, 2, 3, 4], Metadata())
        );
        Refused("may not repeat", () => _ = new InfluenceScores(tensor(s_values), [5, 5], [1, 2, 3, 4], Metadata()));
        Refused("may not repeat", () => _ = new InfluenceScores(tensor(s_values), [5, 6], [1, 2, 3, 1], Metadata()));
    }

    [Fact]
    public void FilesThatHoldSomethingElse()
    {
        using var layer = nn.Linear(2, 2);
        Checkpoint.Save(_folder.Path("weights.safetensors"), layer, 1);
        Refused("weight, bias", () => InfluenceScores.Load(_folder.Path("weights.safetensors")));
        Refused("weight, bias", () => ExampleScores.Load(_folder.Path("weights.safetensors")));
        Refused("Cannot read", () => InfluenceScores.Load(_folder.Path("none.npy")));
    }

    /// <summary>Other tensors of the file are left alone; what a tool wrote without a checksum says so, and goes on saying so.</summary>
    [Theory]
    [InlineData(ScalarType.Float16)]
    [InlineData(ScalarType.BFloat16)]
    public void ScoresOfAnotherTool(ScalarType type)
    {
        var values = tensor(s_values).to_type(type);
        var bytes = values.bytes.ToArray();
        var name = type == ScalarType.Float16 ? "F16" : "BF16";
        var header =
            $"{{\"scores\":{{\"dtype\":\"{name}\",\"shape\":[2,4],\"data_offsets\":[0,16]}},\"raw\":{{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[16,20]}}}}";
        File.WriteAllBytes(
            _folder.Path("s.safetensors"),
            [(byte)header.Length, 0, 0, 0, 0, 0, 0, 0, .. System.Text.Encoding.UTF8.GetBytes(header), .. bytes, 1, 2, 3, 4]
        );
        using var read = InfluenceScores.Load(_folder.Path("s.safetensors"));
        Assert.Equal(ScalarType.Float32, read.Values.dtype);
        Assert.Equal([0, 1], read.QueryIds);
        Assert.True(read.Values.eq(tensor(s_values).to_type(ScalarType.Float32)).all().item<bool>());
        Assert.StartsWith("unverified", read.Metadata.Integrity, StringComparison.Ordinal);

        read.Save(_folder.Path("again.safetensors"));
        using var again = InfluenceScores.Load(_folder.Path("again.safetensors"));
        Assert.Equal(read.Metadata, again.Metadata);
    }

    [Fact]
    public void NoQueriesAndOneQuery()
    {
        using var none = new InfluenceScores(zeros([0, 4]), [], [10, 11, 12, 13], Metadata());
        foreach (var name in new[] { "s.npy", "s.safetensors" })
        {
            none.Save(_folder.Path(name));
            using var read = InfluenceScores.Load(_folder.Path(name));
            Assert.Equal([0, 4], read.Values.shape);
        }

        using var scores = Make();
        scores.ForQuery(0).Save(_folder.Path("row.npy"));
        using var row = InfluenceScores.Load(_folder.Path("row.npy"));
        Assert.Equal([1, 4], row.Values.shape);
        Assert.Equal(3, row[0, 1]);
        Refused(
            "expected [N]",
            () =>
            {
                scores.Save(_folder.Path("matrix.npy"));
                ExampleScores.Load(_folder.Path("matrix.npy"));
            }
        );
    }

    [Fact]
    public void IdsThatAreNotWholeNumbersAreRefused()
    {
        Influence.Formats.Safetensors.Save(
            _folder.Path("s.safetensors"),
            [("scores", zeros(1, 2)), ("train_ids", tensor(new[] { 0.5, 1.5 }))],
            new Dictionary<string, string>()
        );
        Refused("\"train_ids\" is F64 [2]", () => InfluenceScores.Load(_folder.Path("s.safetensors")));
        Influence.Formats.Safetensors.Save(
            _folder.Path("s.safetensors"),
            [("scores", zeros(1, 2)), ("train_ids", tensor(new[] { 1L, 2, 3 }))],
            new Dictionary<string, string>()
        );
        Refused("\"train_ids\" is I64 [3]", () => InfluenceScores.Load(_folder.Path("s.safetensors")));
        Influence.Formats.Safetensors.Save(
            _folder.Path("s.safetensors"),
            [("scores", zeros([2], ScalarType.Int64))],
            new Dictionary<string, string>()
        );
        Refused("type Int64", () => ExampleScores.Load(_folder.Path("s.safetensors")));
    }

    [Fact]
    public void OneQuerysScoresReadBack()
    {
        using var scores = Make();
        var row = scores.ForQuery(0);
        row.Save(_folder.Path("r.safetensors"));
        var read = ExampleScores.Load(_folder.Path("r.safetensors"));

        Assert.Equal(row.Values, read.Values);
        Assert.Equal(row.Ids, read.Ids);
        Assert.Equal(row.Metadata, read.Metadata);
        Assert.Equal([11, 13], read.Highest(2).Ids);
        Assert.Equal([12, 10], read.Lowest(2).Ids);
        Assert.Equal(-2, read[2]);
        Refused("not -1", () => read.Highest(-1));

        row.Save(_folder.Path("r.npy"));
        Assert.Equal(128 + (4 * 8), new FileInfo(_folder.Path("r.npy")).Length);
    }

    /// <summary>The tensor is taken over, whichever scope it was made in; disposing the scores leaves nothing.</summary>
    [Fact]
    public void TheTensorBelongsToTheScores()
    {
        var before = LiveTensors.OnThisThread;
        var given = tensor(s_values);
        var scores = new InfluenceScores(given, [5, 6], [10, 11, 12, 13], Metadata());
        Assert.True(given.IsInvalid);
        Assert.Equal(before + 1, LiveTensors.OnThisThread);
        scores.Dispose();
        Assert.Equal(before, LiveTensors.OnThisThread);

        InfluenceScores kept;
        using (NewDisposeScope())
        {
            kept = Make();
        }

        Assert.Equal(3, kept[0, 1]);
        kept.Dispose();
        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    private static InfluenceScores Make(ScalarType dtype = ScalarType.Float64) =>
        new(tensor(s_values).to_type(dtype), [5, 6], [10, 11, 12, 13], Metadata());

    private static ScoreMetadata Metadata() =>
        new()
        {
            Estimator = "TracIn",
            Unit = "a unit",
            Checkpoints = "step 5: 0.1",
            Layers = "last layer",
            Coverage = 0.1,
            LossReduction = "sum",
            Sign = "plus",
        };

    private static void Refused(string words, Action act) =>
        Assert.Contains(words, Assert.Throws<InfluenceException>(act).Message, StringComparison.Ordinal);
}
