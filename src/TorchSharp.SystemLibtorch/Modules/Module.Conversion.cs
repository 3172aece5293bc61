using System.Reflection;
using TorchSharp.Modules;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public partial class Module
        {
            public Module _to(Tensor other, bool non_blocking) => _to(other.device, other.dtype, non_blocking);

            protected internal virtual Module _to(Device device, ScalarType dtype, bool non_blocking)
            {
                RequireConvertible(dtype);
                _toEpilog(dtype, Normalized(device.type, device.index), non_blocking);
                return this;
            }

            protected internal virtual Module _to(DeviceType deviceType, int deviceIndex, bool non_blocking)
            {
                _toEpilog(null, Normalized(deviceType, deviceIndex), non_blocking);
                return this;
            }

            protected internal virtual Module _to(ScalarType dtype, bool non_blocking)
            {
                RequireConvertible(dtype);
                _toEpilog(dtype, null, non_blocking);
                return this;
            }

            /// <summary>Converts the children, then replaces the module's own parameters and buffers.</summary>
            protected virtual void _toEpilog(ScalarType? dtype, Device? device, bool non_blocking)
            {
                foreach (var child in children())
                {
                    _ = (dtype, device) switch
                    {
                        (null, null) => throw new ArgumentException("Neither a type nor a device is given."),
                        ({ } type, null) => child._to(type, non_blocking),
                        (null, { } place) => child._to(place.type, place.index, non_blocking),
                        ({ } type, { } place) => child._to(place, type, non_blocking),
                    };
                }

                foreach (var (component, parameter) in named_parameters(false).ToList())
                {
                    if (ReplaceParameter(dtype, device, parameter, out var replacement))
                    {
                        Store(component, parameter, replacement!);
                        ConditionallyRegisterParameter(component, replacement);
                    }
                }

                foreach (var (component, buffer) in named_buffers(false).ToList())
                {
                    if (ReplaceBuffer(dtype, device, buffer, out var replacement))
                    {
                        Store(component, buffer, replacement!);
                        ConditionallyRegisterBuffer(component, replacement);
                    }
                }

                if (device is not null)
                {
                    (_deviceType, _deviceIndex) = (device.type, device.index);
                }
            }

            /// <summary>Makes the converted parameter, with its gradient, unless there is nothing to convert.</summary>
            protected static bool ReplaceParameter(ScalarType? dtype, Device? device, Parameter param, out Parameter? p)
            {
                p = null;
                using var gradient = param.grad;
                var type = TargetType(dtype, param);
                var place = device ?? param.device;
                if (!Differs(param, type, place) && (gradient is null || !Differs(gradient, type, place)))
                {
                    return false;
                }

                // A leaf again: the conversion itself must not enter the graph.
                using var noGrad = no_grad();
                p = new Parameter(param.to(type, place, copy: true), param.requires_grad);
                p.DetachFromDisposeScope();
                if (gradient is not null)
                {
                    using var moved = gradient.to(type, place, copy: true);
                    p.grad = moved;
                }

                return true;
            }

            /// <summary>
            /// Makes the converted buffer and disposes the old one, unless there is nothing to convert.
            /// </summary>
            protected static bool ReplaceBuffer(ScalarType? dtype, Device? device, Tensor buffer, out Tensor? result)
            {
                result = null;
                var type = TargetType(dtype, buffer);
                var place = device ?? buffer.device;
                if (!Differs(buffer, type, place))
                {
                    return false;
                }

                result = buffer.to(type, place);
                result.DetachFromDisposeScope();
                buffer.Dispose();
                return true;
            }

            /// <summary>
            /// Puts a converted tensor where the user reads it: the property of its name, else the field.
            /// </summary>
            private void Store(string component, Tensor old, Tensor replacement)
            {
                var property = GetType()
                    .GetProperties(BindingFlags.Public | BindingFlags.Instance)
                    .FirstOrDefault(
                        p => p.Name == component && p.CanWrite && p.PropertyType.IsInstanceOfType(replacement));
                if (property is not null)
                {
                    property.SetValue(this, replacement);
                    return;
                }

                old.Dispose();
                ComponentFields()
                    .FirstOrDefault(f => f.ComponentName() == component && f.FieldType.IsInstanceOfType(replacement))
                    ?.SetValue(this, replacement);
            }

            /// <summary>
            /// Only floating-point and complex tensors follow a type conversion; counters and indices do not.
            /// </summary>
            private static ScalarType TargetType(ScalarType? dtype, Tensor tensor)
                => dtype is { } type && (IsFloatingOrComplex(tensor.dtype)) ? type : tensor.dtype;

            private static bool Differs(Tensor tensor, ScalarType dtype, Device device)
                => tensor.dtype != dtype
                    || tensor.device_type != device.type
                    || (device.type == DeviceType.CUDA && device.index >= 0 && tensor.device_index != device.index);

            private static bool IsFloatingOrComplex(ScalarType dtype) => dtype
                is ScalarType.Float16 or ScalarType.BFloat16 or ScalarType.Float32 or ScalarType.Float64
                or ScalarType.ComplexFloat32 or ScalarType.ComplexFloat64;

            private static void RequireConvertible(ScalarType dtype)
            {
                if (!IsFloatingOrComplex(dtype))
                {
                    throw new ArgumentException(
                        $"A module converts to floating point or complex types only, not to {dtype}.", nameof(dtype));
                }
            }

            private static Device Normalized(DeviceType type, int index)
            {
                if (type != DeviceType.CUDA)
                {
                    return new Device(type, -1);
                }

                return cuda.is_available()
                    ? new Device(type, index)
                    : throw new InvalidOperationException("CUDA is not available.");
            }
        }
    }
}
