using TorchSharp.Modules;
using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Modules;

/// <summary>Attention and encoder layers: outputs of TorchSharp 0.107's native modules, and what is closed about them.</summary>
public sealed class AttentionTests
{
    /// <summary>The first three numbers and the sum of squares of what the native modules give (libtorch 1.13.1, float64).</summary>
    public static TheoryData<string, double[], double> Native => new()
    {
        { "self", [-0.05399343446343373, -0.12421732898146341, -0.14380513484197902], 7.48829402572539 },
        { "cross", [-0.2495296552540327, -0.04208189428592751, -0.04757924121041285], 6.834656549526642 },
        { "causal", [0.22193930312111476, -0.2443400308255112, -0.2744969680156604], 8.369557174022646 },
        { "a bool mask adds one", [-0.27428810484800265, -0.02463019892716846, -0.0439217157423408], 7.560993197467602 },
        { "padding", [-0.028171084853519726, -0.13255147127374753, -0.1595506351516524], 8.830256076020857 },
        { "key and value biases", [-0.412420608963797, -0.5957084428607651, -0.0836762027940921], 5.136309580830869 },
        { "zero attention", [0.18396815848819392, -0.21547752397514164, -0.2714236115123715], 5.618532579528035 },
        { "keys of another width", [-1.404335936988667, 0.16619727243410126, -0.012984535796276786], 24.57599000272404 },
        { "layer ReLU", [-0.9681572820279463, -0.30154016081889945, -0.7282471797022866], 12.556503699227452 },
        { "layer ReLU masked", [-0.9758692768636167, -0.29324083266117223, -0.7111042897534844], 12.42536701214878 },
        { "layer ReLU both", [-0.9758692768636167, -0.29324083266117223, -0.7111042897534844], 12.621703913636596 },
        { "enc ReLU", [-0.41804764204497696, -0.6841361059459263, -0.8816617756985917], 10.985230269963507 },
        { "enc ReLU masked", [-0.41808842756107134, -0.6801456126400885, -0.8937706689223897], 10.937566833342173 },
        { "enc ReLU both", [-0.41808842756107134, -0.6801456126400885, -0.8937706689223897], 10.891433896300233 },
        { "layer GELU", [-0.9615085097898962, -0.4101635765206907, -0.6955120290525825], 13.029802499156943 },
        { "layer GELU masked", [-0.970920307339185, -0.4002626148742188, -0.6757333784496561], 12.86248448036217 },
        { "layer GELU both", [-0.970920307339185, -0.4002626148742188, -0.6757333784496561], 13.125560997094512 },
        { "enc GELU", [-0.4187585394698231, -0.6289488837382783, -0.8946968276214396], 12.581192487261244 },
        { "enc GELU masked", [-0.41878422464583154, -0.6265646331674632, -0.9039925299474653], 12.501730624244626 },
        { "enc GELU both", [-0.41878422464583154, -0.6265646331674632, -0.9039925299474653], 12.418589524817794 },
    };

    [Theory]
    [MemberData(nameof(Native))]
    public void Outputs_are_those_of_the_native_module(string name, double[] first, double squares)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var output = Run(name).reshape(-1);

        // The same sums in the same order, but for the blocking of matrix products.
        Assert.Equal(first, output[..3].data<double>().ToArray(), (a, b) => Math.Abs(a - b) < 1e-14);
        Assert.Equal(squares, output.square().sum().item<double>(), 1e-12);
    }

    [Fact]
    public void Modules_are_closed_and_name_their_parameters_as_libtorch_does()
    {
        string[] layer =
        [
            "self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight", "self_attn.out_proj.bias", "linear1.weight",
            "linear1.bias", "linear2.weight", "linear2.bias", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias",
        ];
        AssertNames("MultiheadAttention", nn.MultiheadAttention(6, 2), ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]);
        AssertNames("MultiheadAttention", nn.MultiheadAttention(6, 2, bias: false), ["in_proj_weight", "out_proj.weight"]);
        AssertNames(
            "MultiheadAttention",
            nn.MultiheadAttention(6, 2, add_bias_kv: true),
            ["in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj.weight", "out_proj.bias"]);
        AssertNames(
            "MultiheadAttention",
            nn.MultiheadAttention(6, 2, kdim: 4, vdim: 4),
            ["q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]);
        AssertNames("TransformerEncoderLayerImpl", nn.TransformerEncoderLayer(6, 3, 8), layer);
        AssertNames(
            "TransformerEncoderImpl",
            nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 3, 8), 2),
            [.. layer.Select(n => $"layers.0.{n}"), .. layer.Select(n => $"layers.1.{n}")]);

        static void AssertNames(string type, nn.Module module, string[] names)
        {
            using var owned = module;
            Assert.Equal($"torch::nn::{type}", module.GetName());
            Assert.Empty(module.named_modules());
            Assert.Equal(names, module.named_parameters(recurse: false).Select(p => p.name));
            Assert.Equal(names, module.state_dict().Keys);
            Assert.All(names, name => Assert.Equal(ScalarType.Float32, module.get_parameter(name)!.dtype));
        }
    }

    [Fact]
    public void An_encoder_holds_copies_of_the_layer()
    {
        using var layer = nn.TransformerEncoderLayer(6, 3, 8);
        using var encoder = nn.TransformerEncoder(layer, 2);
        foreach (var (name, parameter) in layer.named_parameters())
        {
            Assert.Equal(parameter.Floats(), encoder.get_parameter($"layers.1.{name}")!.Floats());
        }

        using var noGrad = no_grad();
        layer.get_parameter("linear1.weight")!.zero_();
        Assert.NotEqual(0, encoder.get_parameter("layers.0.linear1.weight")!.abs().sum().item<float>());
    }

    [Fact]
    public void Initial_values_are_bounded_as_in_libtorch()
    {
        manual_seed(1);
        using var module = nn.MultiheadAttention(60, 2, add_bias_kv: true);

        // Xavier's bound of [180, 60], and one over the root of the fan-in.
        Assert.InRange(module.get_parameter("in_proj_weight")!.Floats().Max(), 0.155f, (float)Math.Sqrt(6.0 / 240));
        Assert.InRange(module.get_parameter("out_proj.weight")!.Floats().Max(), 0.125f, (float)Math.Sqrt(1.0 / 60));
        Assert.All(module.get_parameter("in_proj_bias")!.Floats(), value => Assert.Equal(0, value));
        Assert.NotEqual(0, module.get_parameter("bias_k")!.Floats()[0]);
    }

    [Fact]
    public void Hooks_see_every_input_and_replace_the_output()
    {
        using var scope = NewDisposeScope();
        using var module = nn.MultiheadAttention(6, 2);
        var x = Positions(3).to_type(float32);
        var plain = module.forward(x, x, x, null, true, null).Item1;
        module.register_forward_hook((_, query, key, _, padding, weights, mask, output) =>
        {
            Assert.Same(query, key);
            Assert.Null(padding);
            Assert.Null(mask);
            Assert.True(weights);
            return Tuple.Create(output.Item1 * 2, output.Item2);
        });
        module.register_forward_pre_hook((_, query, key, value, padding, weights, mask) => (query, query, value, padding, weights, mask));

        Values.Equal([.. plain.Floats().Select(value => 2.0 * value)], module.call(x, x, x).Item1);
    }

    /// <summary>TorchSharp runs a layer's hooks for one input, and an encoder's always.</summary>
    [Fact]
    public void A_layer_called_with_a_mask_runs_no_hook()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.TransformerEncoderLayer(6, 3, 8);
        using var encoder = nn.TransformerEncoder(layer, 1);
        var (x, mask) = (Positions(3).to_type(float32), zeros(3, 3));
        var runs = new List<string>();
        layer.register_forward_hook((_, _, output) => Note("layer", output));
        encoder.register_forward_hook((_, _, mask, _, output) => Note(mask is null ? "encoder" : "encoder with mask", output));

        _ = layer.call(x, mask);
        _ = layer.call(x, mask, zeros(2, 3, ScalarType.Bool));
        _ = layer.call(x);
        _ = encoder.call(x, mask);
        _ = encoder.call(x);

        Assert.Equal(["layer", "encoder with mask", "encoder"], runs);

        Tensor Note(string what, Tensor output)
        {
            runs.Add(what);
            return output.alias();
        }
    }

    [Fact]
    public void Without_weights_the_second_result_is_invalid()
    {
        using var scope = NewDisposeScope();
        using var module = nn.MultiheadAttention(6, 2);
        var x = Positions(3).to_type(float32);
        var (with, without) = (module.call(x, x, x), module.call(x, x, x, need_weights: false));

        Assert.Equal(with.Item1.Floats(), without.Item1.Floats());
        Assert.Equal([2L, 3, 3], with.Item2.shape);
        Assert.All(with.Item2.sum([2]).Floats(), row => Assert.Equal(1, row, 1e-6));
        Assert.True(without.Item2.IsInvalid);
    }

    [Fact]
    public void Dropout_is_on_in_training_only()
    {
        using var scope = NewDisposeScope();
        using var module = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, dropout: 0.5), 1);
        var x = Positions(3).to_type(float32);

        Assert.NotEqual(module.call(x).Floats(), module.call(x).Floats());
        module.eval();
        Assert.Equal(module.call(x).Floats(), module.call(x).Floats());
    }

    [Fact]
    public void Conversion_and_files_keep_the_values()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.TransformerEncoderLayer(6, 2, 8);
        using var other = nn.TransformerEncoderLayer(6, 2, 8);
        layer.eval();
        other.eval();
        layer.to(float64);
        other.to(float64);
        var file = Path.GetTempFileName();
        try
        {
            layer.save(file);
            other.load(file);
        }
        finally
        {
            File.Delete(file);
        }

        Assert.Equal(layer.call(Positions(3)).Floats(), other.call(Positions(3)).Floats());
    }

    [Fact]
    public void Gradients_reach_every_parameter_and_the_input()
    {
        using var scope = NewDisposeScope();
        using var module = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8), 2);
        module.eval();
        var x = Positions(3).to_type(float32).requires_grad_(true);
        module.call(x).square().sum().backward();

        Assert.All(module.parameters(), parameter => Assert.Equal(parameter.shape, parameter.grad!.shape));
        Assert.NotEqual(0, x.grad!.abs().sum().item<float>());
    }

    [Fact]
    public void Shapes_that_do_not_fit_are_refused()
    {
        using var scope = NewDisposeScope();
        using var module = nn.MultiheadAttention(6, 2);
        var x = Positions(3).to_type(float32);

        Assert.Throws<ArgumentException>(() => module.call(x[0], x[0], x[0]));
        Assert.Throws<ArgumentException>(() => module.call(x, x, x[..2]));
        Assert.Throws<ArgumentException>(() => nn.MultiheadAttention(6, 4));
    }

    private static Tensor Run(string name)
    {
        var (x, y) = (Positions(3), (arange(48, float64) * 0.3).cos().reshape(4, 2, 6));
        var causal = zeros(3, 3, float64).masked_fill(ones(3, 3).triu(1).to_type(ScalarType.Bool), double.NegativeInfinity);
        var padding = tensor(new[] { false, false, true, false, true, true }).reshape(2, 3);
        var activation = name.Contains("GELU", StringComparison.Ordinal) ? nn.Activations.GELU : nn.Activations.ReLU;
        var (mask, keys) = (name.Contains("masked", StringComparison.Ordinal) || name.Contains("both", StringComparison.Ordinal) ? causal : null,
            name.Contains("both", StringComparison.Ordinal) ? padding : null);
        if (name.StartsWith("layer", StringComparison.Ordinal))
        {
            using var layer = Filled(nn.TransformerEncoderLayer(6, 3, 8, activation: activation));
            return mask is null ? layer.call(x) : keys is null ? layer.call(x, mask) : layer.call(x, mask, keys);
        }

        if (name.StartsWith("enc", StringComparison.Ordinal))
        {
            using var layer = nn.TransformerEncoderLayer(6, 3, 8, activation: activation);
            using var encoder = Filled(nn.TransformerEncoder(layer, 2));
            return mask is null ? encoder.call(x) : keys is null ? encoder.call(x, mask) : encoder.call(x, mask, keys);
        }

        var narrow = y[.., .., ..4];
        using var module = Filled(name switch
        {
            "key and value biases" => nn.MultiheadAttention(6, 2, add_bias_kv: true),
            "zero attention" => nn.MultiheadAttention(6, 2, add_zero_attn: true),
            "keys of another width" => nn.MultiheadAttention(6, 2, kdim: 4, vdim: 4),
            _ => nn.MultiheadAttention(6, 2),
        });
        return (name switch
        {
            "self" => module.call(x, x, x),
            "cross" => module.call(x, y, y),
            "causal" => module.call(x, x, x, attn_mask: causal),
            "a bool mask adds one" => module.call(x, x, x, attn_mask: ones(3, 3).triu(1).to_type(ScalarType.Bool)),
            "padding" => module.call(x, x, x, key_padding_mask: padding),
            "key and value biases" or "zero attention" => module.call(x, x, x, padding, true, causal),
            "keys of another width" => module.call(x, narrow, narrow),
            _ => throw new ArgumentException(name),
        }).Item1;
    }

    private static Tensor Positions(long length) => (arange(length * 12, float64) * 0.7).cos().reshape(length, 2, 6);

    private static TModule Filled<TModule>(TModule module) where TModule : nn.Module
    {
        module.to(float64);
        module.eval();
        var k = 0;
        foreach (var (_, parameter) in module.named_parameters())
        {
            parameter.copy_(((arange(parameter.numel(), float64) * 0.37) + k++).sin().reshape(parameter.shape).mul(0.5));
        }

        return module;
    }
}
