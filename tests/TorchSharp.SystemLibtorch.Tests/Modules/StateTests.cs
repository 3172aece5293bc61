using TorchSharp.Modules;
using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Modules;

public class StateTests
{
    [Fact]
    public void The_file_of_a_tiny_module_has_exactly_these_bytes()
    {
        using var layer = Tiny(weight: 1, bias: -2);
        using var stream = new MemoryStream();

        layer.save(stream);

        byte[] expected =
        [
            2,                                                      // entries
            6, .. "weight"u8, 6, 2, 1, 1, 0x00, 0x00, 0x80, 0x3f,   // name, float32, two dimensions of 1, 1.0f
            4, .. "bias"u8, 6, 1, 1, 0x00, 0x00, 0x00, 0xc0,        // name, float32, one dimension of 1, -2.0f
        ];
        Assert.Equal(expected, stream.ToArray());
    }

    [Fact]
    public void Sizes_above_127_take_two_bytes()
    {
        using var stream = new MemoryStream();
        using var table = zeros(200, dtype: ScalarType.Int8);
        table.Save(stream);

        Assert.Equal([1, 1, 0xc8, 0x01], stream.ToArray()[..4]);
        Assert.Equal(204, stream.ToArray().Length);
    }

    [Fact]
    public void Save_and_load_round_trip_through_a_file()
    {
        var path = Path.GetTempFileName();
        try
        {
            using var source = new TwoLayers();
            using var target = new TwoLayers();
            var loaded = new Dictionary<string, bool>();
            source.save(path);

            target.load(path, loadedParameters: loaded);

            Assert.Equal(source.state_dict().Keys, loaded.Keys);
            Assert.All(loaded.Values, Assert.True);
            foreach (var (name, tensor) in source.state_dict())
            {
                Assert.Equal(tensor.Floats(), target.state_dict()[name].Floats());
            }
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Buffers_and_their_types_are_saved()
    {
        using var source = nn.BatchNorm1d(2);
        using var target = nn.BatchNorm1d(2);
        using var input = rand(5, 2);
        source.call(input).Dispose();

        target.load(new MemoryStream(Saved(source)));

        Assert.Equal(
            ["bias", "num_batches_tracked", "running_mean", "running_var", "weight"],
            source.state_dict().Keys.Order());
        Assert.Equal(source.running_var!.Floats(), target.running_var!.Floats());
        Assert.Equal(1, target.num_batches_tracked!.item<long>());
    }

    [Fact]
    public void A_strict_load_refuses_what_does_not_match()
    {
        using var withBias = Tiny(1, 2);
        using var withoutBias = nn.Linear(1, 1, hasBias: false);
        using var larger = nn.Linear(2, 1);
        using var doubles = nn.Linear(1, 1, dtype: ScalarType.Float64);

        Assert.Throws<ArgumentException>(() => withoutBias.load(new MemoryStream(Saved(withBias))));
        Assert.Throws<ArgumentException>(() => larger.load(new MemoryStream(Saved(withBias))));
        Assert.Throws<ArgumentException>(() => doubles.load(new MemoryStream(Saved(withBias))));
    }

    [Fact]
    public void A_load_that_is_not_strict_reports_what_it_found()
    {
        using var withBias = Tiny(3, 4);
        using var withoutBias = nn.Linear(1, 1, hasBias: false);
        var loaded = new Dictionary<string, bool>();

        withoutBias.load(new MemoryStream(Saved(withBias)), strict: false, loadedParameters: loaded);

        Values.Equal([3], withoutBias.weight);
        Assert.Equal(new Dictionary<string, bool> { ["weight"] = true, ["bias"] = false }, loaded);
    }

    [Fact]
    public void Skipped_names_are_neither_saved_nor_loaded()
    {
        using var source = Tiny(3, 4);
        using var target = Tiny(0, 0);

        target.load(new MemoryStream(Saved(source)), skip: ["weight"]);
        Values.Equal([0], target.weight);
        Values.Equal([4], target.bias!);

        using var stream = new MemoryStream();
        source.save(stream, skip: ["weight"]);
        Assert.Equal(1, stream.ToArray()[0]);
    }

    [Fact]
    public void State_dict_holds_the_modules_own_tensors()
    {
        using var layer = Tiny(1, 2);

        Assert.Same(layer.weight, layer.state_dict()["weight"]);
        Assert.Equal(["p.weight", "p.bias"], layer.state_dict(prefix: "p").Keys);
    }

    [Fact]
    public void Load_state_dict_copies_values_and_names_differences()
    {
        using var source = Tiny(5, 6);
        using var target = nn.Linear(1, 1, hasBias: false);
        var before = target.weight;

        Assert.Throws<InvalidOperationException>(() => target.load_state_dict(source.state_dict()));
        var (missing, unexpected) = target.load_state_dict(source.state_dict(), strict: false);

        Assert.Empty(missing);
        Assert.Equal(["bias"], unexpected);
        Assert.Same(before, target.weight);
        Values.Equal([5], target.weight);
    }

    [Fact]
    public void Tensors_load_by_themselves()
    {
        using var tensor = arange(6).reshape(2, 3);
        using var stream = new MemoryStream();
        tensor.Save(stream);

        using var reader = new BinaryReader(new MemoryStream(stream.ToArray()));
        using var loaded = TensorExtensionMethods.Load(reader);

        Assert.Equal([2, 3], loaded.shape);
        Assert.True(loaded.Equals(tensor));
    }

    private static Linear Tiny(float weight, float bias)
    {
        var layer = nn.Linear(1, 1);
        nn.init.constant_(layer.weight, weight);
        nn.init.constant_(layer.bias!, bias);
        return layer;
    }

    private static byte[] Saved(nn.Module module)
    {
        var stream = new MemoryStream();
        module.save(stream);
        return stream.ToArray();
    }
}
