using TorchSharp.Interop;

namespace TorchSharp;

/// <summary>Sequences, and the identity.</summary>
public static partial class torch
{
    public static Tensor arange(
        Scalar start, Scalar stop, Scalar step, ScalarType? dtype = null, Device? device = null,
        bool requires_grad = false)
    {
        var floating = start.IsFloating || stop.IsFloating || step.IsFloating;
        var type = dtype ?? (floating ? get_default_dtype() : ScalarType.Int64);
        return Aten.arange_start_step
            .Call(start, stop, step, type, Argument.None, InitializeDevice(device)).WithGrad(requires_grad);
    }

    public static Tensor arange(
        Scalar start, Scalar stop, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        arange(start, stop, 1, dtype, device, requires_grad);

    public static Tensor arange(
        Scalar stop, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        arange(0, stop, 1, dtype, device, requires_grad);

    public static Tensor linspace(
        double start, double end, long steps, ScalarType? dtype = null, Device? device = null,
        bool requires_grad = false) =>
        Aten.linspace
            .Call(start, end, steps, dtype ?? get_default_dtype(), Argument.None, InitializeDevice(device))
            .WithGrad(requires_grad);

    public static Tensor logspace(
        double start, double end, long steps, double @base = 10, ScalarType? dtype = null, Device? device = null,
        bool requires_grad = false) =>
        Aten.logspace
            .Call(start, end, steps, @base, dtype ?? get_default_dtype(), Argument.None, InitializeDevice(device))
            .WithGrad(requires_grad);

    public static Tensor eye(
        long rows, long columns = -1, ScalarType? dtype = null, Device? device = null, bool requires_grad = false,
        string[]? names = null)
    {
        NoNames(names);
        return Aten.eye_m
            .Call(
                rows, columns == -1 ? rows : columns, dtype ?? get_default_dtype(), Argument.None,
                InitializeDevice(device))
            .WithGrad(requires_grad);
    }
}

internal static partial class Aten
{
    public static readonly Operator arange_start_step = new("aten::arange", "start_step");
    public static readonly Operator linspace = new("aten::linspace");
    public static readonly Operator logspace = new("aten::logspace");
    public static readonly Operator eye_m = new("aten::eye", "m");
}
