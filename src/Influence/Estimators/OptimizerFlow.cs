using System.Globalization;
using Influence.Curvature;
using Influence.Formats;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// A segment of SOURCE as Adam or AdamW walked through it: P = 1 / (sqrt(v) + eps) from the mean of the checkpoints' second moments without
/// bias, and weight decay inside of P (Adam) or beside it (AdamW). Owns its tensors.
/// </summary>
/// <remarks>
/// With C = H + decay and M = P^1/2 C P^1/2 (+ decay I where it is decoupled) the propagator exp(-t P C) is P^1/2 exp(-t M) P^-1/2, and
/// the response (I - exp(-t P C)) (P C)^-1 P is P^1/2 phi(M) P^1/2 with phi(x) = (1 - exp(-t x)) / x, t = eta K.
/// </remarks>
internal sealed class OptimizerFlow : IDisposable
{
    private const int MaximumSteps = 200;

    private readonly Tensor[] _scales; // P, [P_k] a block
    private readonly Setting[] _settings;
    private readonly long _bytes;

    private OptimizerFlow(Tensor[] scales, Setting[] settings, long bytes) => (_scales, _settings, _bytes) = (scales, settings, bytes);

    /// <summary>The steps that the slowest block took.</summary>
    public int Steps { get; private set; }

    /// <summary>The largest relative change by the last steps, of any block.</summary>
    public double Change { get; private set; }

    /// <summary>Reads a segment's moments, in the order of the session's blocks.</summary>
    /// <param name="session">Opened with parameters apart that differ in <paramref name="of"/>.</param>
    /// <param name="checkpoints">The segment's.</param>
    /// <param name="of">A parameter's eta K, its weight decay, and whether that is decoupled.</param>
    /// <param name="bytes">What the iteration may take.</param>
    /// <exception cref="InfluenceException">A parameter's direction is not known, or differs in kind between checkpoints.</exception>
    public static OptimizerFlow Of(GradientSession session, IReadOnlyList<Checkpoint> checkpoints, Func<string, Setting> of, long bytes)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var files = new List<SafetensorsTensors>();
        try
        {
            files.AddRange(checkpoints.Select(c => SafetensorsTensors.OpenAny(c.FilePath)));
            var byName = new Dictionary<string, Tensor>();
            Tensor[] scales =
            [
                .. session.Parts.Select(parts =>
                    cat([.. parts.Select(part => part.Of(Whole(part.Parameter)))], 0)
                        .to(session.Dtype, session.Device)
                        .DetachFromDisposeScope()
                ),
            ];
            return new OptimizerFlow(scales, [.. session.Parts.Select(parts => of(parts[0].Parameter.Name))], bytes);

            Tensor Whole(ModelParameter parameter)
            {
                if (!byName.TryGetValue(parameter.Name, out var scale))
                {
                    byName[parameter.Name] = scale = ScaleOf(checkpoints, files, parameter);
                }

                return scale;
            }
        }
        finally
        {
            files.ForEach(file => file.Dispose());
        }
    }

    /// <summary>The response and the propagator's transpose, times a block's queries <c>[Q, P_k]</c>, exactly up to the iteration's
    /// tolerance.</summary>
    public (Tensor[] Response, Tensor[] Earlier) Exact(int k, BlockCurvature? block, Tensor[] parts)
    {
        var (root, setting) = (_scales[k].sqrt(), _settings[k]);
        var rows = parts[0].shape[0];
        var (response, earlier) = (parts.Select(p => zeros_like(p)).ToArray(), parts.Select(p => zeros_like(p)).ToArray());
        using var function = block?.Map(eigenvalues => eigenvalues.clamp_min(Kept(0)) + Kept(setting.Coupled));
        var atOnce = (int)Math.Clamp(_bytes / ((MaximumSteps + 8) * root.shape[0] * root.dtype.ElementSize()), 1, rows);
        for (long at = 0; at < rows; at += atOnce)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(atOnce, rows - at);
            var start = cat([.. parts.Select(p => p.narrow(0, at, count))], 1) * root; // P^1/2 v
            var (values, steps, change) = SymmetricFunction.Of(
                Multiply,
                start,
                [x => Response(x, setting.Length), x => Math.Exp(-setting.Length * x)],
                MaximumSteps,
                root.dtype == ScalarType.Float64 ? 1e-11 : 1e-5
            );
            (Steps, Change) = (Math.Max(Steps, steps), Math.Max(Change, change));
            Put(response, values[0] * root, at);
            Put(earlier, values[1] / root, at);
        }

        return (response, earlier);

        Tensor Multiply(Tensor x)
        {
            using var scope = NewDisposeScope();
            var y = x * root; // [K, P_k]
            var curved = function is null
                ? y * Kept(setting.Coupled)
                : cat(function.Dense(new DenseGradients(y.shape[0], () => Cut(y, parts))), 1);
            return ((curved * root) + (x * Kept(setting.Decoupled))).MoveToOuterDisposeScope();
        }
    }

    /// <summary>
    /// The same with the exponential on the diagonal of H alone and an EK-FAC inverse at its damping, the mask first and the inverse after
    /// it.
    /// </summary>
    public (Tensor[] Response, Tensor[] Earlier) Diagonal(int k, BlockCurvature? block, Tensor[] parts, Damping damping)
    {
        if (block is null)
        {
            return Exact(k, block, parts);
        }

        var setting = _settings[k];
        var scale = Cut(_scales[k].unsqueeze(0), parts);
        var diagonal = block.Diagonal(parts.Length > 1);
        var (masked, earlier) = (new Tensor[parts.Length], new Tensor[parts.Length]);
        for (var p = 0; p < parts.Length; p++)
        {
            // [P_k]
            var sigma = ((diagonal[p].clamp_min(Kept(0)) + Kept(setting.Coupled)) * scale[p].squeeze(0)) + Kept(setting.Decoupled);
            var kept = (sigma * Kept(-setting.Length)).exp();
            (masked[p], earlier[p]) = (parts[p] * (Kept(1) - kept), parts[p] * kept);
        }

        using var inverse = block.Invert(damping.For(block.MeanEigenvalue) + setting.Coupled);
        return (inverse.Dense(new DenseGradients(parts[0].shape[0], () => masked)), earlier);
    }

    public void Dispose()
    {
        foreach (var scale in _scales)
        {
            scale.Dispose();
        }
    }

    private static double Response(double x, double length) =>
        x * length < 1e-6 ? length * (1 - (x * length / 2)) : (1 - Math.Exp(-x * length)) / x;

    private static Tensor[] Cut(Tensor rows, Tensor[] like)
    {
        var cut = new Tensor[like.Length];
        for (var (p, at) = (0, 0L); p < cut.Length; at += like[p++].shape[1])
        {
            cut[p] = rows.narrow(1, at, like[p].shape[1]);
        }

        return cut;
    }

    private static void Put(Tensor[] parts, Tensor rows, long at)
    {
        foreach (var (part, cut) in parts.Zip(Cut(rows, parts)))
        {
            part.narrow(0, at, cut.shape[0]).copy_(cut);
        }
    }

    /// <summary>P of a parameter, <c>[count]</c>: ones for SGD and what is not trained.</summary>
    private static Tensor ScaleOf(IReadOnlyList<Checkpoint> checkpoints, List<SafetensorsTensors> files, ModelParameter parameter)
    {
        Tensor? sum = null;
        var ones = 0;
        for (var c = 0; c < files.Count; c++)
        {
            var (checkpoint, name) = (checkpoints[c], parameter.Name);
            switch (checkpoint.Made.Of(name))
            {
                case null or { IsSgd: true } or { IsAdam: true } when NotTrained(checkpoint, files[c], name):
                case { IsSgd: true, Maximize: false }:
                    ones++;
                    break;
                case { IsAdam: true, Maximize: false }:
                    using (NewDisposeScope())
                    {
                        var moments = checkpoint.Made.SecondMoment(files[c], checkpoint.FilePath, name).to(ScalarType.Float64);
                        var v = OptimizerRecord.Flat(moments, checkpoint.FilePath, name, parameter.Count);
                        sum = (sum is null ? v : sum.add_(v)).MoveToOuterDisposeScope();
                    }

                    break;
                case { } other:
                    throw new InfluenceException(
                        other.Maximize
                            ? $"The optimizer of {checkpoint.FilePath} maximizes; SOURCE follows a loss that falls. Negate the loss and "
                                + "leave maximize out."
                            : $"The checkpoint {checkpoint.FilePath} was made by {other}; SOURCE knows the steps of SGD, Adam and AdamW. "
                                + "Write Direction = TracIn.UpdateDirection.Sgd."
                    );
                default:
                    throw new InfluenceException(
                        $"The checkpoint {checkpoint.FilePath} does not say how its optimizer moved the parameter {name}. "
                            + "Names must be those under which it was saved; else write Direction = TracIn.UpdateDirection.Sgd."
                    );
            }
        }

        if (sum is null)
        {
            return torch.ones([parameter.Count], ScalarType.Float64);
        }

        return ones == 0
            ? checkpoints[^1].Made.ScaleOf(sum.div_(Kept(files.Count)), checkpoints[^1].FilePath, parameter.Name)
            : throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"Of the {files.Count} checkpoints of a segment, which ends at step {checkpoints[^1].Step}, {ones} hold no moments of "
                        + $"Adam for {parameter.Name} and the others do. Make segments of one optimizer each."
                )
            );
    }

    private static bool NotTrained(Checkpoint checkpoint, SafetensorsTensors file, string name) =>
        checkpoint.Rates.Of(name).LearningRate == 0 && checkpoint.Rates.AreByName && file.Entries.ContainsKey(name);

    /// <summary>How a block was trained in the segment.</summary>
    /// <param name="Length">eta K.</param>
    /// <param name="Coupled">Weight decay that passes through P, as L2 does.</param>
    /// <param name="Decoupled">Weight decay beside P, as AdamW's.</param>
    internal readonly record struct Setting(double Length, double Coupled, double Decoupled);
}
