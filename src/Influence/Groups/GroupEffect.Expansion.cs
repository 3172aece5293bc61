namespace Influence.Groups;

public sealed partial record GroupEffect
{
    /// <summary>How the change of the parameters is predicted when a group is re-weighted.</summary>
    public enum Expansion
    {
        /// <summary>One step with the curvature of all data: what group influence says, over the re-weighted number of examples.</summary>
        First,

        /// <summary>First, and what the group's own curvature changes, to first order in the group's share.</summary>
        Second,

        /// <summary>One Newton step with the curvature of the re-weighted data: exact where the loss is quadratic.</summary>
        Newton,
    }
}
