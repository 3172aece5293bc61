using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>Normalises each channel over the batch in training, by running statistics in evaluation.</summary>
public abstract class BatchNorm : NormBase
{
    public BatchNorm(
        long num_features,
        double eps,
        double momentum,
        bool affine,
        bool track_running_stats,
        Device? device,
        ScalarType? dtype,
        string name) : base(num_features, eps, momentum, affine, track_running_stats, device, dtype, name)
    {
    }

    public override Tensor forward(Tensor input)
    {
        ValidateInputDimensions(input);
        var tracked = !training || track_running_stats;
        return nn.functional.batch_norm(
            input,
            tracked ? running_mean : null,
            tracked ? running_var : null,
            affine ? weight : null,
            bias,
            training || (running_mean is null && running_var is null),
            UpdateFactor(),
            eps);
    }

    /// <summary>
    /// The weight of this batch in the running statistics; without a momentum they are a plain average.
    /// </summary>
    private double UpdateFactor()
    {
        if (!training || !track_running_stats || num_batches_tracked is null)
        {
            return momentum ?? 0;
        }

        num_batches_tracked.add_(1);
        if (momentum is { } factor)
        {
            return factor;
        }

        using var batches = num_batches_tracked.to(ScalarType.Float64, copy: true);
        return 1 / batches.item<double>();
    }
}

/// <summary>Batch normalisation of <c>[B, C]</c> or <c>[B, C, L]</c>.</summary>
public sealed class BatchNorm1d : BatchNorm
{
    internal BatchNorm1d(
        long num_features, double eps, double momentum,
        bool affine, bool track_running_stats, Device? device, ScalarType? dtype)
        : base(num_features, eps, momentum, affine, track_running_stats, device, dtype, nameof(BatchNorm1d))
    {
    }

    protected override void ValidateInputDimensions(Tensor input)
    {
        if (input.shape.Length is not (2 or 3))
        {
            throw new ArgumentException(
                $"BatchNorm1d expects 2 or 3 dimensions, but got {input.shape.Length}.", nameof(input));
        }
    }
}

/// <summary>Batch normalisation of <c>[B, C, H, W]</c>.</summary>
public sealed class BatchNorm2d : BatchNorm
{
    internal BatchNorm2d(
        long num_features, double eps, double momentum,
        bool affine, bool track_running_stats, Device? device, ScalarType? dtype)
        : base(num_features, eps, momentum, affine, track_running_stats, device, dtype, nameof(BatchNorm2d))
    {
    }

    protected override void ValidateInputDimensions(Tensor input)
    {
        if (input.shape.Length != 4)
        {
            throw new ArgumentException(
                $"BatchNorm2d expects 4 dimensions, but got {input.shape.Length}.", nameof(input));
        }
    }
}
