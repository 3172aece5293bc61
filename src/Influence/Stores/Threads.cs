using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>As many threads as libtorch has, so that one setting rules both.</summary>
internal static class Threads
{
    /// <summary>Calls for 0 to count - 1, in any order.</summary>
    public static void ForEach(int count, Action<int> call)
    {
        var threads = Math.Min(get_num_threads(), count);
        if (threads > 1)
        {
            Parallel.For(0, count, new ParallelOptions { MaxDegreeOfParallelism = threads }, call);
            return;
        }

        for (var i = 0; i < count; i++)
        {
            call(i);
        }
    }
}
