using TorchSharp.Modules;
using TorchSharp.Utils;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        /// <summary>A tree node of a model: owns parameters, buffers and submodules under names.</summary>
        /// <remarks>
        /// Everything here is managed; the native side knows tensors only. Components come from fields
        /// (<see cref="RegisterComponents"/>) or from the <c>register_</c> methods.
        /// </remarks>
        public partial class Module : IDisposable
        {
            protected OrderedDict<string, Module> _internal_submodules = [];
            protected OrderedDict<string, (Tensor, bool)> _internal_buffers = [];
            protected OrderedDict<string, Parameter> _internal_params = [];

            protected DeviceType _deviceType = DeviceType.CPU;
            protected int _deviceIndex = -1;
            protected string? name;

            private bool _training = true;
            private bool _disposed;

            protected Module(string name) => this.name = name;

            /// <summary>Whether the module is in training mode (dropout active, batch statistics used).</summary>
            public virtual bool training => _training;

            public virtual void train(bool train = true)
            {
                _training = train;
                foreach (var child in children())
                {
                    child.train(train);
                }
            }

            public virtual void eval() => train(false);

            /// <summary>Runs <paramref name="fn"/> on every submodule, children first, then on this module.</summary>
            public virtual Module apply(Action<Module> fn)
            {
                foreach (var (_, child) in _internal_submodules)
                {
                    child.apply(fn);
                }

                fn(this);
                return this;
            }

            public virtual string GetName() => string.IsNullOrEmpty(name) ? GetType().Name : name;

            /// <summary>Clears the gradients of all parameters: sets them to null, or to zero if so asked.</summary>
            public virtual void zero_grad(bool set_to_none = true)
            {
                foreach (var parameter in parameters())
                {
                    using var gradient = parameter.grad;
                    if (gradient is null)
                    {
                        continue;
                    }

                    if (set_to_none)
                    {
                        parameter.grad = null;
                    }
                    else
                    {
                        gradient.zero_();
                    }
                }
            }

            public static Module Create<T>(string path) where T : Module, new() => new T().load(path);

            public void Dispose()
            {
                Dispose(true);
                GC.SuppressFinalize(this);
            }

            /// <summary>Disposes the parameters, the buffers and all submodules.</summary>
            protected virtual void Dispose(bool disposing)
            {
                if (!disposing || _disposed)
                {
                    return;
                }

                _disposed = true;
                foreach (var (_, (buffer, _)) in _internal_buffers)
                {
                    buffer.Dispose();
                }

                foreach (var (_, parameter) in _internal_params)
                {
                    parameter.Dispose();
                }

                foreach (var child in children())
                {
                    child.Dispose();
                }
            }
        }
    }
}
