using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Gradients;

/// <summary>
/// A convolution is a linear layer over patches: with a_t the patch that output position t sees, G = sum over t of
/// d_t a_t'. One block per group of channels. Conv1d is Conv2d of height one.
/// </summary>
internal sealed class ConvolutionRule : LayerRule
{
    private readonly int _dimensions;
    private readonly long _groups;
    private readonly (long H, long W) _kernel;
    private readonly (long H, long W) _stride;
    private readonly (long H, long W) _dilation;
    private readonly (long Top, long Bottom, long Left, long Right) _padding;

    private ConvolutionRule(Convolution conv, int dimensions)
    {
        _dimensions = dimensions;
        _groups = conv.groups;
        _kernel = Pair(conv.kernel_size);
        _stride = Pair(conv.stride);
        _dilation = Pair(conv.dilation);
        if (conv.padding_type == TorchSharp.Padding.Same)
        {
            // As PyTorch: the odd one goes to the end.
            var (h, w) = (_dilation.H * (_kernel.H - 1), _dilation.W * (_kernel.W - 1));
            _padding = (h / 2, h - (h / 2), w / 2, w - (w / 2));
        }
        else
        {
            var (h, w) = conv.padding is { } padding ? Pair(padding, missing: 0) : (0, 0);
            _padding = (h, h, w, w);
        }
    }

    public override string Name => _dimensions == 1 ? "Conv1d" : "Conv2d";

    public static ConvolutionRule? For(Convolution conv, out string? reason)
    {
        reason = conv.padding_mode is PaddingModes.Zeros or PaddingModes.Constant ? null : $"its padding mode is {conv.padding_mode}";
        return reason is null ? new ConvolutionRule(conv, conv is Conv1d ? 1 : 2) : null;
    }

    public override BlockGradients Gradients(IReadOnlyList<LayerCall> calls, bool weight, bool bias)
    {
        var examples = calls[0].Examples;
        if (_groups > 1)
        {
            return weight
                ? new GroupedGradients(examples, () => Parts(calls, weight, bias), () => GroupFactors(calls), bias)
                : new DenseGradients(examples, () => Parts(calls, weight, bias));
        }

        var outputGradient = JoinPositions(calls, call => OutputsByPosition(call));     // [B, T, O]
        var inputs = Channels(calls[0].Activation) * _kernel.H * _kernel.W;
        return new FactoredGradients(
            () => JoinPositions(calls, call => PatchesByPosition(call)),                // [B, T, I]
            outputGradient,
            inputs,
            weight,
            bias,
            () => Parts(calls, weight: true, bias: false)[0]);
    }

    public override BlockGradients Substitute(long examples, Tensor[] parts, bool weight, bool bias, long inputs)
    {
        if (_groups == 1)
        {
            return LinearRule.Instance.Substitute(examples, parts, weight, bias, inputs);
        }

        return weight
            ? new GroupedGradients(
                examples,
                () => Aliases(parts),
                () => Factored(parts[0].reshape(examples, _groups, -1, inputs), bias ? parts[1].reshape(examples, _groups, -1) : null),
                bias) { IsSubstitute = true }
            : base.Substitute(examples, parts, weight, bias, inputs);
    }

    private Tensor[] Parts(IReadOnlyList<LayerCall> calls, bool weight, bool bias)
    {
        var parts = new List<Tensor>();
        if (weight)
        {
            parts.Add(SumCalls(calls, WeightGradient));
        }

        if (bias)
        {
            parts.Add(SumCalls(calls, call => Image(call.OutputGradient).sum([2, 3])));      // [B*k, O]
        }

        return [.. parts];
    }

    /// <summary>a <c>[B, g, T, I/g]</c> and d <c>[B, g, T, O/g]</c>; rows of an example and calls are so many more positions.</summary>
    private (Tensor Activation, Tensor OutputGradient) GroupFactors(IReadOnlyList<LayerCall> calls)
    {
        return (Join(call => Patches(call)), Join(call => Image(call.OutputGradient).flatten(2)));

        Tensor Join(Func<LayerCall, Tensor> part)
        {
            var byCall = calls.Select(call =>
            {
                var x = part(call);                                                     // [B*k, n, T]
                return x.reshape(call.Examples, call.RowsPerExample, _groups, x.shape[1] / _groups, x.shape[2])
                    .permute(0, 2, 1, 4, 3).flatten(2, 3);                              // [B, g, k*T, n/g]
            }).ToArray();
            return byCall.Length == 1 ? byCall[0] : cat(byCall, 2);
        }
    }

    /// <summary>One weight gradient for each row, <c>[B*k, O*I/groups]</c>.</summary>
    private Tensor WeightGradient(LayerCall call)
    {
        var d = Image(call.OutputGradient);
        var rows = d.shape[0];
        var patches = Patches(call);                                                    // [B*k, C*h*w, T]
        var byGroup = patches.reshape(rows * _groups, -1, patches.shape[2]);
        var dByGroup = d.reshape(rows * _groups, d.shape[1] / _groups, -1);
        return dByGroup.bmm(byGroup.transpose(1, 2)).reshape(rows, -1);
    }

    private Tensor OutputsByPosition(LayerCall call)
    {
        var d = Image(call.OutputGradient);
        return d.flatten(2).transpose(1, 2).reshape(call.Examples, -1, d.shape[1]);
    }

    private Tensor PatchesByPosition(LayerCall call)
    {
        var patches = Patches(call);
        return patches.transpose(1, 2).reshape(call.Examples, -1, patches.shape[1]);
    }

    /// <summary>
    /// The patch under each output position, <c>[B*k, C*h*w, T]</c>: one copy out of an overlapping view of the padded
    /// image, eight times faster on a CPU than functional.unfold.
    /// </summary>
    private Tensor Patches(LayerCall call)
    {
        var image = Image(call.Activation);
        if (_padding != default)
        {
            image = F.pad(image, (_padding.Left, _padding.Right, _padding.Top, _padding.Bottom));
        }

        image = image.contiguous();                                                     // [B*k, C, H, W]
        var output = Image(call.OutputGradient).shape;
        var (rows, channels, height, width) = (image.shape[0], image.shape[1], image.shape[2], image.shape[3]);
        var view = image.as_strided(
            [rows, channels, _kernel.H, _kernel.W, output[2], output[3]],
            [channels * height * width, height * width, _dilation.H * width, _dilation.W, _stride.H * width, _stride.W],
            image.storage_offset());
        return view.reshape(rows, channels * _kernel.H * _kernel.W, output[2] * output[3]);
    }

    private Tensor Image(Tensor tensor) => _dimensions == 1 ? tensor.unsqueeze(2) : tensor;

    private static long Channels(Tensor activation) => activation.shape[1];

    private (long H, long W) Pair(long[] values, long missing = 1) => _dimensions == 1
        ? (missing, values[0])
        : (values[0], values.Length > 1 ? values[1] : values[0]);
}
