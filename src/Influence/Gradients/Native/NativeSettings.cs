using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>One way in which a native module may have been made.</summary>
/// <param name="Heads">The number of heads.</param>
/// <param name="Activation">The activation of encoder layers; null for attention alone.</param>
/// <param name="ZeroAttention">Whether a key and a value of zeros are added.</param>
internal sealed record NativeSettings(long Heads, nn.Activations? Activation, bool ZeroAttention)
{
    /// <summary>Everything that a module of this width can be made with, as far as it was not given.</summary>
    public static IReadOnlyList<NativeSettings> Candidates(long width, bool isEncoder, InfluenceTask.Options? given)
    {
        var heads = Enumerable.Range(1, (int)width).Select(h => (long)h).Where(h => width % h == 0 && h == (given?.Heads ?? h));
        nn.Activations?[] activations =
            !isEncoder ? [null]
            : given?.Activation is { } activation ? [activation]
            : [nn.Activations.ReLU, nn.Activations.GELU];
        bool[] zero = isEncoder ? [false] : [false, true];
        return
        [
            .. zero.SelectMany(_ => heads, (z, h) => (z, h))
                .SelectMany(_ => activations, (pair, a) => new NativeSettings(pair.h, a, pair.z)),
        ];
    }

    public override string ToString() =>
        $"{Heads} heads"
        + (Activation is { } activation ? $", {activation}" : string.Empty)
        + (ZeroAttention ? ", zero attention" : string.Empty);
}

/// <summary>
/// Finds a native module's settings: those with which recomputing gives what the module itself gave for the same input.
/// </summary>
/// <param name="path">The module's path and type, for messages.</param>
/// <param name="candidates">What is tried.</param>
internal sealed class NativeSettingsSearch(string path, IReadOnlyList<NativeSettings> candidates)
{
    private List<NativeSettings>? _agreeing;

    /// <summary>
    /// The settings; of several that agree any. Those stay on trial: sequences of one position show no heads, later ones may.
    /// </summary>
    /// <param name="native">The module's own output, <c>[T, B, E]</c>.</param>
    /// <param name="inputs">What it was given.</param>
    /// <param name="isTraining">Whether the module is in training mode, for the message.</param>
    /// <param name="recompute">The output with given settings.</param>
    /// <exception cref="InfluenceException">Nothing agrees.</exception>
    public NativeSettings Agree(Tensor native, NativeInputs inputs, bool isTraining, Func<NativeSettings, NativeInputs, Tensor> recompute)
    {
        if (_agreeing is { Count: 1 })
        {
            return _agreeing[0];
        }

        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var tolerance = native.dtype == ScalarType.Float64 ? 1e-10 : 1e-5;
        var tried = new List<(NativeSettings Settings, double Error)>();
        if (_agreeing is null)
        {
            // One example tells most of them apart, and is cheap.
            var (first, one) = (native.narrow(1, 0, 1), inputs.First());
            tried = [.. candidates.Select(c => (c, Difference(first, recompute(c, one))))];
            _agreeing = [.. tried.Where(t => t.Error <= tolerance).Select(t => t.Settings)];
        }

        while (_agreeing.Count > 0 && Difference(native, recompute(_agreeing[0], inputs)) is var error && !(error <= tolerance))
        {
            tried.RemoveAll(t => t.Settings == _agreeing[0]);
            tried.Add((_agreeing[0], error));
            _agreeing.RemoveAt(0);
        }

        return _agreeing.Count > 0 ? _agreeing[0] : throw Nothing(native, isTraining, tried, tolerance);
    }

    private InfluenceException Nothing(
        Tensor native,
        bool isTraining,
        List<(NativeSettings Settings, double Error)> tried,
        double tolerance
    )
    {
        // The next call starts anew.
        _agreeing = null;
        var closest = tried
            .Where(t => double.IsFinite(t.Error))
            .OrderBy(t => t.Error)
            .Take(1)
            .Select(t =>
                $"; the closest, {t.Settings}, differs by {t.Error.ToString("G3", CultureInfo.InvariantCulture)} of the output's norm"
            );
        var found =
            tried.Count == 0
                ? "there was nothing to try: InfluenceTask.Attention gives a number of heads that does not divide its width"
                : $"tried were {string.Join("; ", tried.Select(t => t.Settings))}{string.Concat(closest)}";
        var why =
            isTraining ? "Is its dropout on? Write model.eval() first."
            : !native.isfinite().all().item<bool>()
                ? "Its output has NaN or infinite values: does a mask hide every key of an example? Mend the mask."
            : "Does a hook change its output? Remove it; or give the settings: Attention = new InfluenceTask.Options { Heads = ... } "
                + "(leave them out to have all tried); or leave the module out: Layers = LayerSelection.Where(...).";
        return new InfluenceException(
            $"{path} could not be recomputed: with no settings its output agrees to "
                + $"{tolerance.ToString("G1", CultureInfo.InvariantCulture)}; {found}. {why}"
        );
    }

    private static double Difference(Tensor native, Tensor recomputed)
    {
        using var scope = NewDisposeScope();
        var (difference, scale) = (Norm(native - recomputed), Norm(native));
        return scale == 0 ? difference : difference / scale;

        static double Norm(Tensor tensor) => tensor.norm().to_type(ScalarType.Float64).item<double>();
    }
}
