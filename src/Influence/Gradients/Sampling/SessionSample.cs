using Influence.Numerics;

namespace Influence.Gradients;

/// <summary>What calls would take that open a session.</summary>
internal static class SessionSample
{
    /// <summary>
    /// Opens a session twice and measures the second time: the first audits the model, and what it found is known to the calls after it, as
    /// it will be to the one whose cost is asked for.
    /// </summary>
    /// <param name="open">Opens it.</param>
    /// <returns>The second one, which is the caller's.</returns>
    public static (GradientSession Session, Spent Opening) Open(Func<GradientSession> open)
    {
        open().Dispose();
        GradientSession? session = null;
        var spent = Spent.Of(() => session = open());
        return (session!, spent);
    }
}
