using System.Diagnostics;
using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Tensors;

/// <summary>Tensors that nobody disposes are freed by their finalisers, and never while a call uses them.</summary>
public class FinaliserTests
{
    [Fact]
    public void Two_threads_allocate_against_the_collector()
    {
        Collect();
        var before = Tensor.TotalCount;
        var failures = 0;
        var time = Stopwatch.StartNew();
        var threads = Enumerable.Range(0, 2).Select(id => new Thread(() =>
        {
            for (var i = 0; time.Elapsed < TimeSpan.FromSeconds(1); i++)
            {
                // Every tensor but the last dies while, or right after, the next operator runs.
                var sum = (full([64], id + 1).add(1) * 2 - stack([ones(64), ones(64)]).sum(0L)).sum().ToSingle();
                if (sum != 64 * (((id + 2) * 2) - 2))
                {
                    Interlocked.Increment(ref failures);
                }

                if (i % 16 == 0)
                {
                    GC.Collect(0);
                }
            }
        })).ToList();
        threads.ForEach(t => t.Start());
        while (threads.Any(t => t.IsAlive))
        {
            GC.Collect();
            Thread.Sleep(1);
        }

        Assert.Equal(0, failures);
        Collect();
        Assert.InRange(Tensor.TotalCount, 0, before + 8);
    }

    [Fact]
    public void Disposing_on_one_thread_while_another_reads_is_an_exception_at_worst()
    {
        for (var round = 0; round < 200; round++)
        {
            var t = ones(1000);
            var reader = new Thread(() =>
            {
                try
                {
                    Assert.Equal(1000, t.sum().ToSingle());
                }
                catch (InvalidOperationException)
                {
                    // Disposed before the call began: refused, not a crash.
                    return;
                }
            });
            reader.Start();
            t.Dispose();
            reader.Join();
        }
    }

    /// <summary>Runs the finalisers that are due, so that nothing goes in the middle of a count.</summary>
    internal static void Collect()
    {
        for (var i = 0; i < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }
}
