namespace Influence.Training;

public sealed partial class Cartography
{
    /// <summary>One example on a data map.</summary>
    /// <param name="Id">The example's id.</param>
    /// <param name="Confidence">The mean probability of its label.</param>
    /// <param name="Variability">The standard deviation of that probability.</param>
    /// <param name="Correct">At how many presentations the prediction was correct.</param>
    /// <param name="Presentations">The number of presentations.</param>
    public readonly record struct Point(long Id, double Confidence, double Variability, int Correct, int Presentations)
    {
        /// <summary>The share of the presentations at which the prediction was correct.</summary>
        public double CorrectFraction => (double)Correct / Presentations;

        /// <summary>c (1 - c) of the correct fraction c.</summary>
        public double ThresholdCloseness => CorrectFraction * (1 - CorrectFraction);
    }
}
