namespace Influence.Training;

public sealed partial class Cartography
{
    /// <summary>The regions of a data map.</summary>
    public enum Kind
    {
        /// <summary>High confidence, low variability.</summary>
        EasyToLearn,

        /// <summary>High variability.</summary>
        Ambiguous,

        /// <summary>Low confidence; mislabelled examples are here.</summary>
        HardToLearn,
    }
}
