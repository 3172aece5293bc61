using System.Runtime.InteropServices;

namespace TorchSharp.Interop;

/// <summary>Sets the threads of OpenMP and of libtorch up so that a process on few cores runs at full speed.</summary>
//
// Best of several runs on two cores, Debian's libtorch 1.13 and OpenBLAS (pthreads), milliseconds:
//                                     250x784 @ 784x256   MLP 250 fwd+bwd   conv 100 fwd+bwd   1000x1000 x3   2000x256 gram
//   passive, all cores (the default)               0.54              1.75                8.5            1.3             9.8
//   GOMP_SPINCOUNT=1000                            0.54              1.88                7.4            1.2             9.7
//   GOMP_SPINCOUNT=20000                           0.54              3.2                 7.2            1.2             9.7
//   libgomp's own choice (spins)                   1.0               3.6 to 79          12.6            1.2            20
//   passive, OPENBLAS_NUM_THREADS=1                1.0               2.7                23.6            2.1            19.5
// OPENBLAS_THREAD_TIMEOUT=4 or 16 changes nothing but eigh, for the worse; with other work on the cores only passive
// keeps its times. So: passive, and OpenBLAS as it is.
internal static partial class ThreadSetup
{
    /// <summary>OpenMP reads its environment once, when its library is loaded: this must run before.</summary>
    public static void BeforeLoad()
    {
        if (!IsSet("OMP_WAIT_POLICY") && !IsSet("GOMP_SPINCOUNT"))
        {
            Set("OMP_WAIT_POLICY", "passive");
        }
    }

    /// <summary>
    /// Debian's libtorch starts with one thread; use all cores, unless the user said how many. OpenBLAS does so anyway,
    /// and has a variable of its own.
    /// </summary>
    public static void AfterLoad()
    {
        if (!IsSet("OMP_NUM_THREADS"))
        {
            Native.Check(Native.SetNumThreads(Environment.ProcessorCount, withBlas: 0));
        }
    }

    private static bool IsSet(string name) => !string.IsNullOrEmpty(Environment.GetEnvironmentVariable(name));

    // .NET keeps its own copy of the environment; native code sees only what libc's setenv writes.
    private static void Set(string name, string value)
    {
        if (SetEnvironment(name, value, overwrite: 1) != 0)
        {
            throw new InvalidOperationException($"setenv({name}) failed: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    [LibraryImport("libc", EntryPoint = "setenv", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);
}
