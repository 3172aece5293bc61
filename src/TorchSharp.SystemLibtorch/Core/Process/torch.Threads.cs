using TorchSharp.Interop;

namespace TorchSharp;

/// <summary>How many threads libtorch uses inside an operator, and across operators.</summary>
public static partial class torch
{
    public static int get_num_threads() => Count(Native.NumThreads());

    public static void set_num_threads(int num) => Native.Check(Native.SetNumThreads(num, withBlas: 1));

    public static int get_num_interop_threads() => Count(Native.NumInteropThreads());

    private static int Count(int count)
    {
        Native.Check(count);
        return count;
    }
}
