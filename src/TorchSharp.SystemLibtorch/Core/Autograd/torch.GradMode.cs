using TorchSharp.Interop;

namespace TorchSharp;

/// <summary>Whether operators on this thread record what autograd needs. Each call returns what undoes it.</summary>
public static partial class torch
{
    public static IDisposable no_grad() => new GradMode(false);

    public static IDisposable enable_grad(bool enabled = true) => new GradMode(enabled);

    public static IDisposable set_grad_enabled(bool mode = true) => new GradMode(mode);

    public static bool is_grad_enabled() => Native.GradMode() != 0;

    public static IDisposable inference_mode(bool mode = true) => new InferenceMode(mode);

    public static bool is_inference_mode_enabled() => Native.InferenceMode() != 0;

    private sealed class GradMode : IDisposable
    {
        private readonly int _previous = Native.GradMode();

        public GradMode(bool enabled) => Native.SetGradMode(enabled ? 1 : 0);

        public void Dispose() => Native.SetGradMode(_previous);
    }

    // No finaliser: the mode belongs to the thread that entered it, and must be left there.
    private sealed class InferenceMode : IDisposable
    {
        private nint _guard;

        public InferenceMode(bool enabled)
        {
            _guard = Native.InferenceModeEnter(enabled ? 1 : 0);
            if (_guard == 0)
            {
                throw Native.LastException();
            }
        }

        public void Dispose()
        {
            Native.InferenceModeLeave(_guard);
            _guard = 0;
        }
    }
}
