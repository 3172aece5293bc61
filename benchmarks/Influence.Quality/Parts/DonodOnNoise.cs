using System.Globalization;
using Influence.Evaluation;
using Influence.Quality.Data;
using Influence.Quality.Training;
using Influence.Recipes;
using Influence.Selection;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Parts;

/// <summary>
/// DONOD on data with flipped labels, its delta of norm taken as printed and turned, at a model that was trained on them and at one that
/// was not: how well each finds the flipped labels, and what training on its selection comes to.
/// </summary>
internal sealed class DonodOnNoise(Recipe recipe, LabelledData data, IReadOnlyList<long> flipped, long seed)
{
    private const double Kept = 0.7;

    private readonly Donod _donod = new() { LearningRate = recipe.LearningRate };

    /// <summary>Rankings whose highest are the flipped ones where DONOD is right.</summary>
    public IEnumerable<(string Name, Func<ExampleScores> Score)> Rankings(nn.Module<Tensor, Tensor> trained)
    {
        yield return ("DONOD, NOD", () => Score(trained).Nod);
        yield return ("DONOD, high DON", () => Score(trained).Don);
        yield return ("DONOD, NOD, untrained", () => Untrained(Score).Nod);
        yield return ("DONOD, high DON, untrained", () => Untrained(Score).Don);
    }

    /// <summary>The share of flipped labels among the kept, and the accuracy of a model trained on these.</summary>
    public IEnumerable<(string What, string Figure)> Selections(nn.Module<Tensor, Tensor> trained)
    {
        var (late, early) = (Score(trained), Untrained(Score));
        yield return Selection("high DON, low NOD (as printed)", Pick(late, Topsis.Order.Higher));
        yield return Selection("low DON, low NOD", Pick(late, Topsis.Order.Lower));
        yield return Selection("high DON, low NOD, untrained", Pick(early, Topsis.Order.Higher));
        yield return Selection("low DON, low NOD, untrained", Pick(early, Topsis.Order.Lower));
        using var pool = new SelectionPool(late.Nod);
        yield return Selection(
            "at random",
            new RandomSelection { Seed = 1 }
                .Select(pool, SelectionBudget.Fraction(Kept))
                .Ids
        );
        yield return Selection("all", data.TrainIds);
    }

    private static IReadOnlyList<long> Pick(Donod.Result scores, Topsis.Order don)
    {
        using var pool = new SelectionPool([scores.Don, scores.Nod]);
        return new Topsis { Directions = [don, Topsis.Order.Lower] }
            .Select(pool, SelectionBudget.Fraction(Kept))
            .Ids;
    }

    private (string What, string Figure) Selection(string name, IReadOnlyList<long> ids)
    {
        using var scope = NewDisposeScope();
        using var model = new Trainer(recipe, data.TrainX, data.TrainY).Train([.. ids.Order()], seed);
        var accuracy = Trainer.Measure(model, data.QueryX, data.QueryY).Accuracy;
        var wrong = ids.Intersect(flipped).Count() / (double)ids.Count;
        return (
            $"DONOD, {(ids.Count == data.TrainIds.Count ? string.Empty : $"{Kept:P0} kept: ")}{name}",
            string.Create(
                CultureInfo.InvariantCulture,
                $"{wrong:P1} flipped, then right on {accuracy:P1} of {data.QueryX.shape[0]} test images"
            )
        );
    }

    private Donod.Result Score(nn.Module<Tensor, Tensor> model)
    {
        model.eval();
        return _donod.Score(TrainedModel.Task(model), data.Train());
    }

    private Donod.Result Untrained(Func<nn.Module<Tensor, Tensor>, Donod.Result> score)
    {
        manual_seed(seed);
        using var model = recipe.Create();
        return score(model);
    }
}
