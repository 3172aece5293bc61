using System.Runtime.InteropServices;

namespace TorchSharp.Interop;

/// <summary>Autograd, random numbers, threads and devices: state of the process or of the thread.</summary>
internal static unsafe partial class Native
{
    [LibraryImport(Library, EntryPoint = "inf_autograd_grad")]
    public static partial int AutogradGrad(
        nint* outputs, int outputCount, nint* inputs, int inputCount, nint* gradOutputs, int gradOutputCount,
        int retainGraph, int createGraph, int allowUnused, nint* gradients);

    [LibraryImport(Library, EntryPoint = "inf_autograd_backward")]
    public static partial int AutogradBackward(
        nint* outputs, int outputCount, nint* gradOutputs, int gradOutputCount, int retainGraph, int createGraph,
        nint* inputs, int inputCount);

    [LibraryImport(Library, EntryPoint = "inf_grad_mode")]
    public static partial int GradMode();

    [LibraryImport(Library, EntryPoint = "inf_set_grad_mode")]
    public static partial void SetGradMode(int enabled);

    [LibraryImport(Library, EntryPoint = "inf_inference_mode")]
    public static partial int InferenceMode();

    [LibraryImport(Library, EntryPoint = "inf_inference_mode_enter")]
    public static partial nint InferenceModeEnter(int enabled);

    [LibraryImport(Library, EntryPoint = "inf_inference_mode_leave")]
    public static partial void InferenceModeLeave(nint guard);

    [LibraryImport(Library, EntryPoint = "inf_anomaly_mode")]
    public static partial int AnomalyMode();

    [LibraryImport(Library, EntryPoint = "inf_anomaly_checks_nan")]
    public static partial int AnomalyChecksNan();

    [LibraryImport(Library, EntryPoint = "inf_set_anomaly_mode")]
    public static partial void SetAnomalyMode(int enabled, int checkNan);

    [LibraryImport(Library, EntryPoint = "inf_manual_seed")]
    public static partial int ManualSeed(long seed);

    [LibraryImport(Library, EntryPoint = "inf_generator")]
    public static partial nint Generator(int type, int index, int fresh);

    [LibraryImport(Library, EntryPoint = "inf_generator_free")]
    public static partial void GeneratorFree(nint generator);

    [LibraryImport(Library, EntryPoint = "inf_generator_set_seed")]
    public static partial int GeneratorSetSeed(nint generator, long seed);

    [LibraryImport(Library, EntryPoint = "inf_generator_seed")]
    public static partial int GeneratorSeed(nint generator, int fresh, long* seed);

    [LibraryImport(Library, EntryPoint = "inf_generator_state")]
    public static partial nint GeneratorState(nint generator);

    [LibraryImport(Library, EntryPoint = "inf_generator_set_state")]
    public static partial int GeneratorSetState(nint generator, nint state);

    [LibraryImport(Library, EntryPoint = "inf_num_threads")]
    public static partial int NumThreads();

    [LibraryImport(Library, EntryPoint = "inf_set_num_threads")]
    public static partial int SetNumThreads(int count, int withBlas);

    [LibraryImport(Library, EntryPoint = "inf_num_interop_threads")]
    public static partial int NumInteropThreads();

    [LibraryImport(Library, EntryPoint = "inf_cuda_device_count")]
    public static partial int CudaDeviceCount();

    [LibraryImport(Library, EntryPoint = "inf_cuda_synchronize")]
    public static partial int CudaSynchronize(long index);

    [LibraryImport(Library, EntryPoint = "inf_cuda_manual_seed")]
    public static partial int CudaManualSeed(long seed, int all);

    [LibraryImport(Library, EntryPoint = "inf_allow_tf32")]
    public static partial int AllowTf32(int which, int value);
}
