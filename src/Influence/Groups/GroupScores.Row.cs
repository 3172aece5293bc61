namespace Influence.Groups;

public sealed partial class GroupScores
{
    /// <summary>How much is in a group, and how much of it was looked at.</summary>
    /// <param name="Name">The group.</param>
    /// <param name="Examples">Its examples.</param>
    /// <param name="Tokens">Its tokens, or its examples where none were counted.</param>
    /// <param name="ScoredExamples">Those whose gradients were taken; all of them unless the group was sampled.</param>
    /// <param name="ScoredTokens">Their tokens.</param>
    public sealed record Row(string Name, long Examples, double Tokens, long ScoredExamples, double ScoredTokens)
    {
        /// <summary>A group that was looked at whole.</summary>
        /// <param name="name">The group.</param>
        /// <param name="examples">Its examples.</param>
        /// <param name="tokens">Its tokens.</param>
        public Row(string name, long examples, double tokens)
            : this(name, examples, tokens, examples, tokens) { }

        /// <summary>
        /// The random parts from whose spread the group's standard error was estimated, each of like size: one less is the degrees
        /// of freedom of its t interval.
        /// </summary>
        /// <value>0: not known; intervals then take the standard error as exact.</value>
        public int Blocks { get; init; }

        /// <summary>Whether only a part was looked at.</summary>
        public bool Sampled => ScoredExamples < Examples;
    }
}
