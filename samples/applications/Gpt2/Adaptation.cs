using Influence;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;

namespace Gpt2;

/// <summary>Two domains that the model has never seen, by factors of low rank, and what their passages say of it.</summary>
internal static class Adaptation
{
    public static void Run(
        Gpt2Model model,
        InfluenceTask task,
        Corpus corpus,
        Options options,
        StageClock clock,
        ConsoleProgress progress,
        CancellationToken cancellationToken
    )
    {
        // Two domains that it has never seen, by factors of low rank beside c_attn; all else stays.
        var adapted = corpus.Train.Where(p => p.Domain >= 3).ToList();
        var heldOut = corpus.HeldOut.Where(p => p.Domain >= 3).ToList();
        using var adaptedTensors = new PassageTensors(adapted);
        using var heldOutTensors = new PassageTensors(heldOut);
        var before = Trainer.Loss(model, heldOutTensors);
        progress.Purpose = string.Empty;
        model.AddLora(rank: 4, alpha: 8);
        new Trainer
        {
            PeakRate = 5e-3,
            Epochs = options.Epochs,
            Seed = options.Seed + 1,
        }.Train(model, adaptedTensors, progress, cancellationToken);
        progress.Clear();
        Console.WriteLine(
            $"LoRA of rank 4 on c_attn: loss per byte on passages held out of {corpus.Domains[3].Name} and "
                + $"{corpus.Domains[4].Name} {before:0.000} before, {Trainer.Loss(model, heldOutTensors):0.000} after."
        );
        clock.Lap("LoRA");

        // The task is the same; what takes part is what is not frozen, the factors.
        var adaptation = adaptedTensors.ToExamples(batchSize: 20);
        List<Passage> questions =
        [
            .. heldOut.Where(p => p.Domain == 3).Take(Options.QueriesOfADomain),
            .. heldOut.Where(p => p.Domain == 4).Take(Options.QueriesOfADomain),
        ];
        using var questionTensors = new PassageTensors(questions);
        var factors = task.Coverage(adaptation);
        Console.WriteLine(
            $"Coverage of the factors {factors.Fraction:0%}: {factors.ByRule:N0} parameters by rules, "
                + $"{factors.BySingleExamples:N0} by single examples."
        );
        progress.Purpose = "EK-FAC";
        using var loraFit = Ekfac.Fit(task, adaptation, new Ekfac.Options { Seed = options.Seed }, progress, cancellationToken);
        using var loraScores = new InfluenceFunction(loraFit).Score(
            task,
            adaptation,
            questionTensors.ToExamples(batchSize: questions.Count),
            progress,
            cancellationToken
        );
        progress.Clear();
        ConsoleTable.Write(Report.Proponents(corpus, adapted, questions, loraScores));
        clock.Lap("LoRA's EK-FAC and scores");
    }
}
