using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>A tensor: a handle to libtorch's, owned by a dispose scope or by whoever disposes it.</summary>
    public partial class Tensor : IDisposable
    {
        private readonly TensorHandle _handle;

        /// <summary>Wraps a native handle and owns it; zero makes a tensor whose IsInvalid is true.</summary>
        internal Tensor(nint handle, bool register = true)
        {
            _handle = new TensorHandle(handle);
            if (handle == 0)
            {
                GC.SuppressFinalize(_handle);
            }
            else if (register)
            {
                OwningDisposeScope = DisposeScopeManager.ThreadSingleton.RegisterOnCurrentDisposeScope(this);
            }
        }

        public static long TotalCount => TensorHandle.LiveCount;

        public static long PeakCount => TensorHandle.PeakCount;

        /// <summary>A friendly name, for debugging.</summary>
        public string? name { get; set; }

        public bool IsInvalid => _handle.IsClosed || _handle.IsInvalid;

        /// <summary>The native handle. Keep the tensor alive while it is in use.</summary>
        public IntPtr Handle => IsInvalid
            ? throw new InvalidOperationException("Tensor invalid -- empty handle.")
            : _handle.DangerousGetHandle();

        internal DisposeScope? OwningDisposeScope { get; set; }

        public void Dispose()
        {
            Dispose(true);
            GC.SuppressFinalize(this);
        }

        protected virtual void Dispose(bool disposing)
        {
            if (disposing && !IsInvalid)
            {
                DisposeScopeManager.ThreadSingleton.DisposingOnCurrentScope(this);
                OwningDisposeScope?.MarkAsDisposed(this);
                _handle.Dispose();
            }
        }

        public Tensor MoveToOuterDisposeScope()
        {
            OwningDisposeScope?.MoveToOuter(this);
            return this;
        }

        public Tensor DetachFromDisposeScope()
        {
            OwningDisposeScope?.Detach(this);
            return this;
        }

        /// <summary>A new handle to the same native tensor; both are disposed on their own.</summary>
        public Tensor alias()
        {
            using var self = Use();
            var same = Native.TensorAlias(self.Pointer);
            return same != 0 ? new Tensor(same) : throw Native.LastException();
        }

        public bool Equals(Tensor target) => Aten.equal.CallBool(this, target);

        public override bool Equals(object? obj) => obj is Tensor other && Equals(other);

        // Equality compares values, which change in place: identity is the only stable hash.
        public override int GetHashCode() => base.GetHashCode();

        /// <summary>Holds the native tensor for the length of one call.</summary>
        internal HandleUse Use() => new(_handle, nameof(Tensor));

        /// <summary>As <see cref="Use"/>, where a ref struct does not fit; every call needs one Release.</summary>
        internal nint Acquire() => HandleUse.Acquire(_handle, nameof(Tensor));

        internal void Release() => _handle.DangerousRelease();

        /// <summary>Moves the native tensor out, to be wrapped anew (by Parameter): this object is then invalid.</summary>
        internal nint MoveHandle() => _handle.Surrender();
    }
}
