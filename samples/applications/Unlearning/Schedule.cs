namespace UnlearningSample;

/// <summary>The learning rate of both trainings on texts.</summary>
internal static class Schedule
{
    /// <summary>The share of the peak: a rise over the first twentieth, and a cosine down to a tenth.</summary>
    /// <param name="done">The share of the training that is done.</param>
    public static double Share(double done) => Math.Min(1, done / 0.05) * (0.1 + (0.9 * 0.5 * (1 + Math.Cos(Math.PI * done))));
}
