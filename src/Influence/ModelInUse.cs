using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace Influence;

/// <summary>
/// One call at a time on a model: it is hooked, frozen and given other weights meanwhile, and two threads in one model end the
/// process. A call claims its model until this is disposed; what it calls within the library shares the claim, while another
/// thread is refused, and so is a delegate or a progress callback of the running call that begins another.
/// </summary>
internal sealed class ModelInUse : IDisposable
{
    private static readonly ConditionalWeakTable<nn.Module, Holder> s_holders = [];

    /// <summary>The code of the caller's that the library is in on this thread; null in the library's own.</summary>
    [ThreadStatic]
    private static string? s_callback;

    private readonly string? _outerCallback;
    private Holder? _holder;

    private ModelInUse(Holder holder) => (_holder, _outerCallback, s_callback) = (holder, s_callback, null);

    /// <summary>Claims a model.</summary>
    /// <exception cref="InfluenceException">It is in use.</exception>
    public static ModelInUse Claim(nn.Module model)
    {
        var holder = s_holders.GetOrCreateValue(model);
        lock (holder)
        {
            if (holder.Claims > 0 && holder.Thread != Environment.CurrentManagedThreadId)
            {
                throw new InfluenceException(
                    "Another call is running on this model, on another thread. A model serves one call at a time: wait for the other "
                        + "call, or give each thread a model of its own."
                );
            }

            if (holder.Claims > 0 && s_callback is { } callback)
            {
                throw new InfluenceException(
                    $"Another call is running on this model: {callback} of that call began this one. Note down what you need there, and "
                        + "begin the next call when the first has returned."
                );
            }

            holder.Thread = Environment.CurrentManagedThreadId;
            holder.Claims++;
            return new ModelInUse(holder);
        }
    }

    /// <summary>Until it is disposed this thread is in the caller's code, from which no other call may begin on the same model.</summary>
    /// <param name="what">What of the call is run, for the message: "the loss delegate".</param>
    public static Callback CallingBack(string what) => new(what);

    public void Dispose()
    {
        if (_holder is { } holder)
        {
            _holder = null;
            lock (holder)
            {
                holder.Claims--;
            }

            s_callback = _outerCallback;
        }
    }

    private sealed class Holder
    {
        public int Claims { get; set; }

        public int Thread { get; set; }
    }

    internal readonly struct Callback : IDisposable
    {
        private readonly string? _outer;

        public Callback(string what) => (_outer, s_callback) = (s_callback, what);

        public void Dispose() => s_callback = _outer;
    }
}
