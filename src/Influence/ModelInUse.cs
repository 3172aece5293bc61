using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace Influence;

/// <summary>
/// One call at a time on a model: it is hooked, frozen and given other weights meanwhile, and two threads in one model end the
/// process. A call claims its model until this is disposed, with every module in it, since models may share layers; what it calls within
/// the library shares the claim, while another thread is refused, and so is a delegate or a progress callback of the running call that
/// begins another.
/// </summary>
internal sealed class ModelInUse : IDisposable
{
    private static readonly ConditionalWeakTable<nn.Module, Holder> s_holders = [];
    private static readonly Lock s_lock = new();

    /// <summary>The code of the caller's that the library is in on this thread; null in the library's own.</summary>
    [ThreadStatic]
    private static string? s_callback;

    private readonly string? _outerCallback;
    private IReadOnlyList<Holder>? _holders;
    private IReadOnlyList<Holder> _held = [];

    private ModelInUse(IReadOnlyList<Holder> holders) => (_holders, _outerCallback, s_callback) = (holders, s_callback, null);

    /// <summary>Claims a model.</summary>
    /// <exception cref="InfluenceException">It is in use.</exception>
    public static ModelInUse Claim(nn.Module model)
    {
        var own = s_holders.GetOrCreateValue(model);
        lock (s_lock)
        {
            // Within a call of this thread the modules are claimed already, and looking for them costs something.
            if (own.Claims > 0)
            {
                own.CheckFree(" on this model");
                own.Claims++;
                return new ModelInUse([own]);
            }
        }

        Holder[] holders = [own, .. model.named_modules().Select(m => s_holders.GetOrCreateValue(m.module))];
        lock (s_lock)
        {
            own.CheckFree(" on this model");
            foreach (var holder in holders)
            {
                holder.CheckFree(" on a model that shares layers with this one");
            }

            foreach (var holder in holders)
            {
                holder.Thread = Environment.CurrentManagedThreadId;
                holder.Claims++;
            }

            return new ModelInUse(holders);
        }
    }

    /// <summary>
    /// Keeps the claim between calls, for something that the caller holds: until it is given up, no call begins on the model or on one
    /// that shares layers with it, on this thread either.
    /// </summary>
    /// <param name="model">The claimed model.</param>
    /// <param name="what">What holds it, for the message: "a prepared query".</param>
    public void Hold(nn.Module model, string what)
    {
        Holder[] holders = [s_holders.GetOrCreateValue(model), .. model.named_modules().Select(m => s_holders.GetOrCreateValue(m.module))];
        lock (s_lock)
        {
            foreach (var holder in holders)
            {
                holder.HeldBy = what;
            }
        }

        _held = holders;
    }

    /// <summary>Until it is disposed this thread is in the caller's code, from which no other call may begin on the same model.</summary>
    /// <param name="what">What of the call is run, for the message: "the loss delegate".</param>
    public static Callback CallingBack(string what) => new(what);

    /// <summary>Puts this thread back, when it is disposed, into the code that it is in now: a claim that outlives the call that took it
    /// would otherwise leave the thread in the library's, also where another call's delegate made it.</summary>
    public static Callback Here() => new(s_callback);

    public void Dispose()
    {
        if (_holders is { } holders)
        {
            _holders = null;
            lock (s_lock)
            {
                foreach (var holder in holders)
                {
                    holder.Claims--;
                }

                foreach (var holder in _held)
                {
                    holder.HeldBy = null;
                }
            }

            s_callback = _outerCallback;
        }
    }

    private sealed class Holder
    {
        public int Claims { get; set; }

        public int Thread { get; set; }

        /// <summary>What the caller holds the model by between calls.</summary>
        public string? HeldBy { get; set; }

        /// <summary>Refuses another thread, and code of the caller's within the running call.</summary>
        public void CheckFree(string where)
        {
            if (HeldBy is { } what)
            {
                throw new InfluenceException(
                    $"{char.ToUpperInvariant(what[0])}{what[1..]} is open{where}, and no other call may begin there. Dispose it first: "
                        + "using (var prepared = influence.Prepare(...)) { ... }."
                );
            }

            if (Claims > 0 && Thread != Environment.CurrentManagedThreadId)
            {
                throw new InfluenceException(
                    $"Another call is running{where}, on another thread. A model serves one call at a time: wait for the other call, or "
                        + "give each thread a model of its own."
                );
            }

            if (Claims > 0 && s_callback is { } callback)
            {
                throw new InfluenceException(
                    $"Another call is running{where}: {callback} of that call began this one. Note down what you need there, and begin "
                        + "the next call when the first has returned."
                );
            }
        }
    }

    internal readonly struct Callback : IDisposable
    {
        private readonly string? _outer;

        public Callback(string? what) => (_outer, s_callback) = (s_callback, what);

        public void Dispose() => s_callback = _outer;
    }
}
