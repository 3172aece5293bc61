namespace Influence.Recipes;

public sealed partial record Donod
{
    /// <summary>The two metrics of <see cref="Donod"/>; <c>Topsis</c> puts them together.</summary>
    /// <param name="Don">Delta of norm, sum of ||W|| - ||W'||: the lower the better, see <see cref="Donod"/>.</param>
    /// <param name="Nod">Norm of delta, sum of ||W - W'||: the lower the better.</param>
    public sealed record Result(ExampleScores Don, ExampleScores Nod);
}
