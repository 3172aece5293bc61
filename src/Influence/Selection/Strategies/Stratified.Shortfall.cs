namespace Influence.Selection;

public sealed partial record Stratified
{
    /// <summary>What becomes of a quota that a group is too small to fill.</summary>
    public enum Shortfall
    {
        /// <summary>The other groups share it, in proportion to their quotas; a note names the group.</summary>
        Redistribute,

        /// <summary>It is an error that names the group, before anything is picked.</summary>
        Refuse,
    }
}
