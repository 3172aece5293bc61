using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>A source of random numbers on one device, with its own state.</summary>
    public class Generator : IDisposable
    {
        private readonly GeneratorHandle _handle;

        public Generator(ulong seed = 0, Device? device = null)
            : this(GeneratorHandle.Of(device ?? CPU, fresh: true), device ?? CPU)
        {
            manual_seed((long)seed);
        }

        private Generator(GeneratorHandle handle, Device device)
        {
            _handle = handle;
            this.device = device;
        }

        public static Generator Default => new(GeneratorHandle.Of(CPU, fresh: false), CPU);

        public Device device { get; }

        public IntPtr Handle => _handle.IsClosed
            ? throw new InvalidOperationException("Generator invalid -- empty handle.")
            : _handle.DangerousGetHandle();

        public Tensor get_state()
        {
            using var use = new HandleUse(_handle);
            var state = Native.GeneratorState(use.Pointer);
            return state != 0 ? new Tensor(state) : throw Native.LastException();
        }

        public void set_state(Tensor value)
        {
            using var use = new HandleUse(_handle);
            using var state = value.Use();
            Native.Check(Native.GeneratorSetState(use.Pointer, state.Pointer));
        }

        public Generator manual_seed(long seed)
        {
            using var use = new HandleUse(_handle);
            Native.Check(Native.GeneratorSetSeed(use.Pointer, seed));
            return this;
        }

        /// <summary>Draws a new seed from the system, uses it, and returns it.</summary>
        public long seed() => Seed(fresh: 1);

        public long initial_seed() => Seed(fresh: 0);

        public void Dispose()
        {
            Dispose(true);
            GC.SuppressFinalize(this);
        }

        protected virtual void Dispose(bool disposing)
        {
            if (disposing)
            {
                _handle.Dispose();
            }
        }

        internal nint Acquire() => HandleUse.Acquire(_handle, nameof(Generator));

        internal void Release() => _handle.DangerousRelease();

        private unsafe long Seed(int fresh)
        {
            using var use = new HandleUse(_handle);
            long seed;
            Native.Check(Native.GeneratorSeed(use.Pointer, fresh, &seed));
            return seed;
        }
    }
}
