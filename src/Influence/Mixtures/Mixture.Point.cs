namespace Influence.Mixtures;

public sealed partial class Mixture
{
    /// <summary>A mixture and what came of it: the loss of a model trained on it, or the influence of a group mixed by it.</summary>
    /// <param name="Mixture">The mixture.</param>
    /// <param name="Value">A finite number.</param>
    public sealed record Point(Mixture Mixture, double Value)
    {
        /// <summary>Evaluates mixtures one after the other, and refuses numbers that are not finite.</summary>
        internal static List<Point> All(IEnumerable<Mixture> mixtures, Func<Mixture, double> evaluate, CancellationToken cancellationToken)
        {
            var evaluated = new List<Point>();
            foreach (var mixture in mixtures)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var value = evaluate(mixture);
                if (!double.IsFinite(value))
                {
                    throw new InfluenceException(
                        $"The evaluation of a mixture gave {value}; a finite number is expected. It was mixture "
                            + $"{evaluated.Count + 1}:{Environment.NewLine}{mixture}"
                    );
                }

                evaluated.Add(new(mixture, value));
            }

            return evaluated;
        }
    }
}
