using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>Marks the modules that can hold neither parameters nor buffers.</summary>
public interface IParameterLessModule
{
}

/// <summary>A function in module form, such as an activation. Converting it does nothing.</summary>
public abstract class ParameterLessModule<T1, TResult> : nn.Module<T1, TResult>, IParameterLessModule
{
    protected ParameterLessModule(string name) : base(name)
    {
    }

    protected internal override nn.Module _to(Device device, ScalarType dtype, bool non_blocking) => this;

    protected internal override nn.Module _to(DeviceType deviceType, int deviceIndex, bool non_blocking) => this;

    protected internal override nn.Module _to(ScalarType dtype, bool non_blocking) => this;

    public override void register_buffer(string name, Tensor tensor, bool persistent = true)
        => throw new InvalidOperationException("A parameter-less module cannot hold a buffer.");

    public override void register_parameter(string name, Parameter param)
        => throw new InvalidOperationException("A parameter-less module cannot hold a parameter.");

    public override void register_module(string name, nn.Module submodule)
    {
        if (submodule is not IParameterLessModule)
        {
            throw new InvalidOperationException("A parameter-less module can hold parameter-less submodules only.");
        }

        base.register_module(name, submodule);
    }
}
