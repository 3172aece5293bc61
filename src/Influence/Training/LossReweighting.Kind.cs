namespace Influence.Training;

public sealed partial record LossReweighting
{
    /// <summary>Which losses <see cref="LossReweighting"/> prefers.</summary>
    public enum Kind
    {
        /// <summary>More, the higher the loss, up to the middle of the batch's range; the same from there on.</summary>
        LinUpper,

        /// <summary>Most in the middle of the batch's range.</summary>
        Quadratic,

        /// <summary>Most at both ends of the batch's range.</summary>
        Extremes,
    }
}
