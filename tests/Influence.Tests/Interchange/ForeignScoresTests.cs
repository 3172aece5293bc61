using Influence.Interchange;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Interchange;

/// <summary>
/// Files as the tools write them: NumPy 1.24 made the memory maps (numpy.lib.format.open_memmap, a structured numpy.memmap), torch 1.13 the
/// tensors. All hold the scores of two queries and three training examples that <see cref="s_scores"/> has, which all these types can hold
/// exactly.
/// </summary>
public sealed class ForeignScoresTests : IDisposable
{
    private static readonly double[] s_scores = [0.5, -1.25, 3, 2, 0.125, -7];

    private const string Trak =
        "k05VTVBZAQB2AHsnZGVzY3InOiAnPGYyJywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDMsIDIpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAOABAAL0AMABCAMc=";

    private const string Kronfluence =
        "UAAAAAAAAAB7ImFsbF9tb2R1bGVzIjogeyJkdHlwZSI6ICJGMzIiLCAic2hhcGUiOiBbMiwgM10sICJkYXRhX29mZnNldHMiOiBbMCwgMjRdfX0gICAgIAAAAD8AAKC/AABAQAAAAEAAAAA+AADgwA==";

    private const string KronfluenceModules =
        "iAAAAAAAAAB7ImZjMSI6IHsiZHR5cGUiOiAiRjMyIiwgInNoYXBlIjogWzIsIDNdLCAiZGF0YV9vZmZzZXRzIjogWzAsIDI0XX0sICJmYzIiOiB7ImR0eXBlIjogIkYzMiIsICJzaGFwZSI6IFsyLCAzXSwgImRhdGFfb2Zmc2V0cyI6IFsyNCwgNDhdfX0gAAAAvwAAEMAAAABAAACAPwAAYL8AAADBAACAPwAAgD8AAIA/AACAPwAAgD8AAIA/";

    private const string KronfluenceSelf =
        "SAAAAAAAAAB7ImFsbF9tb2R1bGVzIjogeyJkdHlwZSI6ICJGMzIiLCAic2hhcGUiOiBbM10sICJkYXRhX29mZnNldHMiOiBbMCwgMTJdfX0AAAA/AACgvwAAQEA=";

    /// <summary>bfloat16, training examples first, as dattri returns them.</summary>
    private const string Dattri =
        "UAAAAAAAAAB7ImF0dHJpYnV0aW9uIjogeyJkdHlwZSI6ICJCRjE2IiwgInNoYXBlIjogWzMsIDJdLCAiZGF0YV9vZmZzZXRzIjogWzAsIDEyXX19ICAgIAA/AECgvwA+QEDgwA==";

    private const string Bergson = "AAAAPwEAAAAAAABAAQAAAAAAoL8BAAAAAAAAPgEAAAAAAEBAAQAAAAAA4MABAAAA";

    private const string BergsonInfo =
        """{"num_items": 3, "num_scores": 2, "dtype": {"names": ["score_0", "written_0", "score_1", "written_1"], "formats": ["float32", "bool", "float32", "bool"], "offsets": [0, 4, 8, 12], "itemsize": 16}}""";

    private const string BergsonHalf = "AD8BAABAAQCgvwEAAD4BAEBAAQDgwAEA";

    private const string BergsonHalfInfo =
        """{"num_items": 3, "num_scores": 2, "dtype": {"names": ["score_0", "written_0", "score_1", "written_1"], "formats": ["bfloat16", "bool", "bfloat16", "bool"], "offsets": [0, 2, 4, 6], "itemsize": 8}}""";

    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    [Fact]
    public void TraksMemoryMap()
    {
        using var scores = ForeignScores.FromTrak(Write("experiment.mmap", Trak), trainIds: [7, 8, 9]);

        Holds(scores, [0, 1], [7, 8, 9]);
        Assert.Equal("TRAK", scores.Metadata.Estimator);
    }

    [Fact]
    public void KronfluencesScores()
    {
        using var all = ForeignScores.FromKronfluence(Write("pairwise_scores.safetensors", Kronfluence), queryIds: [5, 6]);
        using var modules = ForeignScores.FromKronfluence(Write("modules.safetensors", KronfluenceModules));
        using var one = ForeignScores.FromKronfluence(Write("modules.safetensors", KronfluenceModules), module: "fc1");
        var self = ForeignScores.SelfFromKronfluence(Write("self_scores.safetensors", KronfluenceSelf), ids: [3, 1, 2]);

        Holds(all, [5, 6], [0, 1, 2]);
        Holds(modules, [0, 1], [0, 1, 2]);
        Assert.Equal("the sum of 2 modules", modules.Metadata.Layers);
        Assert.Equal(s_scores[0] - 1, one[0, 0]);
        Assert.Equal<double>(s_scores[..3], self.Values);
        Assert.Equal([3, 1, 2], self.Ids);
    }

    [Fact]
    public void TensorsByName()
    {
        var metadata = new ScoreMetadata { Estimator = "dattri, TRAK", Unit = "margin" };
        using var scores = ForeignScores.FromSafetensors(Write("dattri.safetensors", Dattri), "attribution", metadata, trainFirst: true);

        Holds(scores, [0, 1], [0, 1, 2]);
        Assert.Equal("dattri, TRAK", scores.Metadata.Estimator);
    }

    [Theory]
    [InlineData(Bergson, BergsonInfo)]
    [InlineData(BergsonHalf, BergsonHalfInfo)]
    public void BergsonsMemoryMap(string bytes, string info)
    {
        using var scores = ForeignScores.FromBergson(Folder(bytes, info), trainIds: [10, 20, 30], sign: "positive = proponent");

        Holds(scores, [0, 1], [10, 20, 30]);
        Assert.Equal("positive = proponent", scores.Metadata.Sign);
    }

    [Fact]
    public void ARunThatDidNotEndIsRefused()
    {
        var bytes = Convert.FromBase64String(Bergson);
        bytes[4] = 0;

        Refused(() => ForeignScores.FromBergson(Folder(Convert.ToBase64String(bytes), BergsonInfo)), "1 of 6 scores were never written");
    }

    [Fact]
    public void WhatDoesNotFitIsRefused()
    {
        Refused(
            () =>
                ForeignScores.FromBergson(
                    Folder(Bergson, BergsonInfo.Replace("\"num_items\": 3", "\"num_items\": 4", StringComparison.Ordinal))
                ),
            "4 records of 16 bytes"
        );
        Refused(
            () =>
                ForeignScores.FromBergson(
                    Folder(Bergson, BergsonInfo.Replace("[0, 4, 8, 12]", "[0, 4, 13, 12]", StringComparison.Ordinal))
                ),
            "not laid out as expected"
        );
        Refused(
            () => ForeignScores.FromBergson(Folder(Bergson, BergsonInfo.Replace("score_1", "score_2", StringComparison.Ordinal))),
            "not laid out as expected"
        );
        Refused(
            () => ForeignScores.FromBergson(Folder(Bergson, BergsonInfo.Replace("float32", "int32", StringComparison.Ordinal))),
            "not laid out as expected"
        );
        Refused(() => ForeignScores.FromBergson(Folder(Bergson, """{"attribute_tokens": true}""")), "single tokens");
        Refused(() => ForeignScores.FromBergson(Folder(Bergson, "[]")), "not laid out as expected");
        Refused(() => ForeignScores.FromBergson(Folder(Bergson, "{")), "Cannot read");
        Refused(() => ForeignScores.FromBergson(_folder.Path("nowhere")), "Cannot read");
        Refused(() => ForeignScores.FromKronfluence(Write("self.safetensors", KronfluenceSelf)), "SelfFromKronfluence");
        Refused(() => ForeignScores.SelfFromKronfluence(Write("pair.safetensors", Kronfluence)), "FromKronfluence(path)");
        Refused(() => ForeignScores.FromKronfluence(Write("pair.safetensors", Kronfluence), module: "fc9"), "no tensor \"fc9\"");
        Refused(() => ForeignScores.FromTrak(Write("t.mmap", Trak), trainIds: [1, 2]), "3 training examples; found 2 ids");
        Refused(() => ForeignScores.FromTrak(Write("t.mmap", Kronfluence)), "not a .npy file");
    }

    private static void Refused(Func<object> read, string says) =>
        Assert.Contains(says, Assert.Throws<InfluenceException>(read).Message, StringComparison.Ordinal);

    private static void Holds(InfluenceScores scores, long[] queries, long[] train)
    {
        Assert.Equal(queries, scores.QueryIds);
        Assert.Equal(train, scores.TrainIds);
        Assert.Equal(s_scores, new List<double>([.. scores.ForQuery(0).Values, .. scores.ForQuery(1).Values]));
        Assert.StartsWith("unverified", scores.Metadata.Integrity, StringComparison.Ordinal);
    }

    private string Write(string name, string bytes)
    {
        File.WriteAllBytes(_folder.Path(name), Convert.FromBase64String(bytes));
        return _folder.Path(name);
    }

    private string Folder(string bytes, string info)
    {
        Directory.CreateDirectory(_folder.Path("scores"));
        Write("scores/scores.bin", bytes);
        File.WriteAllText(_folder.Path("scores/info.json"), info);
        return _folder.Path("scores");
    }
}
