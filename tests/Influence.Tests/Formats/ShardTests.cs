using System.Text.Json;
using Influence.Formats;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Formats;

/// <summary>Checkpoints in several files with an index, as Hugging Face lays them out, and names by a table.</summary>
public sealed class ShardTests : IDisposable
{
    private const string Index = "model.safetensors.index.json";
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    [Theory]
    [InlineData(1, 33)]
    [InlineData(900, 10)]
    [InlineData(1_000_000, 1)]
    public void WhatIsSavedReadsBack(long shardBytes, int most)
    {
        var (saved, other) = (new TinyGpt2(), new TinyGpt2());
        var checkpoint = Checkpoint.SaveSharded(_folder.Path(Index), saved, 0.25, step: 7, shardBytes);
        var shards = _folder.Files.Where(f => f.EndsWith(".safetensors", StringComparison.Ordinal)).ToList();
        var read = Checkpoint.FromFile(_folder.Path(Index));
        var notes = read.LoadInto(other);

        Assert.Equal((0.25, 7, string.Empty), (read.LearningRate, read.Step, read.Integrity));
        Assert.Equal(checkpoint.ToString(), read.ToString());
        Assert.InRange(shards.Count, Math.Min(most, 2), most);
        Assert.Equal(Enumerable.Range(1, shards.Count).Select(k => $"model-{k:00000}-of-{shards.Count:00000}.safetensors"), shards);
        AssertSame(saved, other);

        // The head is tied: it is written once, as the tokens' table, and the notes say so.
        using var index = JsonDocument.Parse(File.ReadAllText(_folder.Path(Index)));
        var map = index.RootElement.GetProperty("weight_map").EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetString());
        Assert.DoesNotContain("lm_head.weight", map.Keys);
        Assert.Contains("transformer.wte.weight", map.Keys);
        Assert.Equal(
            saved.parameters().DistinctBy(p => p.storage<double>().data_ptr()).Sum(p => p.numel()) * 8,
            index.RootElement.GetProperty("metadata").GetProperty("total_size").GetInt64()
        );
        Assert.Equal(["lm_head.weight is tied to transformer.wte.weight, which the file has once"], notes);
    }

    /// <summary>As other tools write it: no checksums, and a number among the metadata.</summary>
    [Fact]
    public void AnIndexOfAnotherTool()
    {
        var model = nn.Sequential(("a", nn.Linear(3, 4)), ("b", nn.Linear(4, 2)));
        WriteForeign(model.state_dict(), name => name.StartsWith('a') ? "x-00001-of-00002.safetensors" : "x-00002-of-00002.safetensors");
        var other = nn.Sequential(("a", nn.Linear(3, 4)), ("b", nn.Linear(4, 2)));
        var read = Checkpoint.FromFile(_folder.Path(Index), learningRate: 0.1);

        Assert.StartsWith("unverified", Assert.Single(read.LoadInto(other)), StringComparison.Ordinal);
        Assert.StartsWith("unverified", read.Integrity, StringComparison.Ordinal);
        AssertSame(model, other);
        Assert.Contains("names no learning rate", Fails(() => Checkpoint.FromFile(_folder.Path(Index))), StringComparison.Ordinal);
    }

    /// <summary>GPT-2 as it is on the hub: no prefix, and masks among the weights.</summary>
    [Fact]
    public void NamesByATable()
    {
        var (saved, other) = (new TinyGpt2(), new TinyGpt2());
        var state = saved
            .state_dict()
            .Where(p => p.Key != "lm_head.weight")
            .ToDictionary(p => p.Key["transformer.".Length..], p => p.Value);
        state["h.0.attn.bias"] = ones(1, 1, 6, 6).tril();
        state["h.1.attn.masked_bias"] = tensor(-1e4);
        WriteForeign(state, name => name.StartsWith('w') ? "m-00001-of-00002.safetensors" : "m-00002-of-00002.safetensors");
        var names = new Checkpoint.Options
        {
            Rename = Checkpoint.Options.Table((@"^(wte|wpe|h|ln_f)\.", "transformer.$1."), (@"\.attn\.(masked_)?bias$", null)),
        };
        var notes = Checkpoint.FromFile(_folder.Path(Index), 0.1, names).LoadInto(other);

        AssertSame(saved, other);
        Assert.Contains(
            notes,
            note =>
                note.Contains("h.0.attn.bias", StringComparison.Ordinal) && note.Contains("h.1.attn.masked_bias", StringComparison.Ordinal)
        );

        // Strictly and without the table every name is missing and every other unexpected; leniently a trainable weight still may not be
        // missing.
        var strict = Fails(() => Checkpoint.FromFile(_folder.Path(Index), 0.1).LoadInto(other));
        Assert.Contains("the checkpoint lacks transformer.", strict, StringComparison.Ordinal);
        Assert.Contains("the model lacks", strict, StringComparison.Ordinal);
        Assert.Contains(
            "lacks",
            Fails(() => Checkpoint.FromFile(_folder.Path(Index), 0.1, new Checkpoint.Options { Lenient = true }).LoadInto(other)),
            StringComparison.Ordinal
        );
        var lenient = new Checkpoint.Options
        {
            Rename = Checkpoint.Options.Table((@"^(wte|wpe|h|ln_f)\.", "transformer.$1.")),
            Lenient = true,
        };
        Assert.Contains(
            Checkpoint.FromFile(_folder.Path(Index), 0.1, lenient).LoadInto(other),
            note => note.StartsWith("not in the model, left out:", StringComparison.Ordinal)
        );
    }

    [Fact]
    public void RowsOfATableFollowEachOther()
    {
        var rename = Checkpoint.Options.Table(("^module\\.", string.Empty), ("layer\\.(\\d+)", "h.$1"), ("drop", null));
        Assert.Equal("h.12.weight", rename("module.layer.12.weight"));
        Assert.Null(rename("module.dropped"));
        Assert.Equal("same", rename("same"));
        Assert.Contains("no pattern", Fails(() => Checkpoint.Options.Table(("(", "x"))), StringComparison.Ordinal);
    }

    [Fact]
    public void WhatIsDamagedIsRefusedByName()
    {
        var model = new TinyGpt2();
        Checkpoint.SaveSharded(_folder.Path(Index), model, 0.1, shardBytes: 2000);
        var text = File.ReadAllText(_folder.Path(Index));
        var shard = _folder.Files.First(f => f.EndsWith(".safetensors", StringComparison.Ordinal));

        // Another save replaced a file, and its index was never written.
        var old = File.ReadAllBytes(_folder.Path(shard));
        using (var _ = no_grad())
        {
            model.parameters().First().add_(1);
        }

        Checkpoint.SaveSharded(_folder.Path(Index), model, 0.1, shardBytes: 2000);
        File.WriteAllBytes(_folder.Path(shard), old);
        Assert.Contains($"{shard} is not the file that the index was written with", Refused(), StringComparison.Ordinal);

        File.WriteAllText(_folder.Path(Index), text);
        File.Delete(_folder.Path(shard));
        Assert.Contains(shard, Refused(), StringComparison.Ordinal);

        foreach (
            var (index, told) in new[]
            {
                ("{", "weight_map"),
                ("{\"weight_map\": {}}", "empty"),
                ("{\"weight_map\": {\"a\": 3}}", "weight_map"),
                ("{\"weight_map\": {\"a\": \"../x.safetensors\"}}", "no file of its own folder"),
                ("{\"weight_map\": {\"a\": \"\"}}", "no file of its own folder"),
                ("[]", "weight_map"),
            }
        )
        {
            File.WriteAllText(_folder.Path(Index), index);
            Assert.Contains(told, Refused(), StringComparison.Ordinal);
        }

        string Refused() => Fails(() => Checkpoint.FromFile(_folder.Path(Index), 0.1));
    }

    [Fact]
    public void TensorsThatAreNotWhereTheIndexSays()
    {
        WriteForeign(nn.Linear(2, 2).state_dict(), _ => "one.safetensors");
        var text = File.ReadAllText(_folder.Path(Index));
        File.WriteAllText(_folder.Path(Index), text.Replace("\"bias\"", "\"other\"", StringComparison.Ordinal));
        Assert.Contains("other in one.safetensors", Fails(() => Checkpoint.FromFile(_folder.Path(Index), 0.1)), StringComparison.Ordinal);

        File.WriteAllText(_folder.Path(Index), "{\"weight_map\": {\"weight\": \"one.safetensors\"}}");
        var notes = Checkpoint.FromFile(_folder.Path(Index), 0.1).LoadInto(nn.Linear(2, 2, hasBias: false));
        Assert.Contains(notes, note => note == "in one.safetensors but not named by the index, left out: bias");
    }

    [Fact]
    public void BadSettings()
    {
        var model = nn.Linear(2, 2);
        Assert.Contains(
            "model.safetensors.index.json",
            Fails(() => Checkpoint.SaveSharded(_folder.Path("m.safetensors"), model, 0.1)),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "shardBytes",
            Fails(() => Checkpoint.SaveSharded(_folder.Path(Index), model, 0.1, shardBytes: 0)),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "learning rate",
            Fails(() => Checkpoint.SaveSharded(_folder.Path(Index), model, double.NaN)),
            StringComparison.Ordinal
        );
        Assert.Contains("Cannot read", Fails(() => Checkpoint.FromFile(_folder.Path(Index), 0.1)), StringComparison.Ordinal);
        Assert.Empty(_folder.Files);
    }

    private static string Fails(Action call) => Assert.Throws<InfluenceException>(call).Message;

    private static void AssertSame(nn.Module expected, nn.Module actual)
    {
        var other = actual.state_dict();
        foreach (var (name, value) in expected.state_dict())
        {
            Assert.True(value.eq(other[name]).all().item<bool>(), name);
        }
    }

    private void WriteForeign(Dictionary<string, Tensor> state, Func<string, string> fileOf)
    {
        foreach (var file in state.GroupBy(p => fileOf(p.Key)))
        {
            var path = _folder.Path(file.Key);
            Safetensors.Save(path, [.. file.Select(p => (p.Key, p.Value))], new Dictionary<string, string> { ["format"] = "pt" });
            Unverified.Strip(path);
        }

        File.WriteAllText(
            _folder.Path(Index),
            JsonSerializer.Serialize(
                new { metadata = new { total_size = 1234 }, weight_map = state.Keys.ToDictionary(name => name, fileOf) }
            )
        );
    }
}
