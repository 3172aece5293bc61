using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>What an optimizer remembers of one parameter.</summary>
public abstract class OptimizerState
{
    protected Parameter _parameter;

    protected OptimizerState(Parameter parameter) => _parameter = parameter;

    /// <summary>Starts anew, as for the first step.</summary>
    public abstract void Initialize(OptimizerOptions options);

    public abstract void SaveStateDict(BinaryWriter writer);

    public abstract void LoadStateDict(BinaryReader reader);

    /// <summary>Copies the state of another optimizer of the same kind.</summary>
    public abstract void LoadStateDict(OptimizerState source);

    public virtual bool ApproximatelyEquals(OptimizerState other) => false;

    public virtual void to(Device device)
    {
    }

    protected static void SaveConditionalStateTensor(BinaryWriter writer, Tensor? tensor)
    {
        writer.Write(tensor is not null);
        tensor?.Save(writer);
    }

    protected static void LoadConditionalStateTensor(BinaryReader reader, ref Tensor? result, Device device)
    {
        if (reader.ReadBoolean())
        {
            TensorExtensionMethods.Load(ref result, reader);
            Move(ref result, device);
        }
        else
        {
            result?.Dispose();
            result = null;
        }
    }

    // A state lives as long as its optimizer, whatever scope was open when it was made.

    internal static Tensor ZerosLike(Parameter parameter) => zeros_like(parameter).DetachFromDisposeScope();

    internal static void Replace(ref Tensor? target, Tensor? source, Device device)
    {
        target?.Dispose();
        target = source?.to(source.dtype, device, copy: true).DetachFromDisposeScope();
    }

    internal static void Move(ref Tensor? target, Device device)
    {
        if (target is null || (target.device_type == device.type && target.device_index == device.index))
        {
            return;
        }

        var old = target;
        target = old.to(device, copy: true).DetachFromDisposeScope();
        old.Dispose();
    }

    internal static bool Close(Tensor? left, Tensor? right)
        => left is null || right is null ? ReferenceEquals(left, right) : left.allclose(right);
}
