namespace Influence.Estimators;

public sealed partial record Source
{
    private string MadeBy =>
        string.Join(" and ", _segments.SelectMany(s => s.Checkpoints).Select(c => c.Optimizer).Where(o => o.Length > 0).Distinct());

    private string PlainSgdNote =>
        Direction == TracIn.UpdateDirection.Sgd && _segments.Any(s => s.Checkpoints.Any(c => c.Made.IsAdam))
            ? $"made by {MadeBy}, the formula is SGD's; write Direction = TracIn.UpdateDirection.Optimizer for the optimizer's own"
            : string.Empty;

    private IEnumerable<string> DirectionProblems()
    {
        if (Direction == TracIn.UpdateDirection.Sgd)
        {
            yield break;
        }

        if (Direction != TracIn.UpdateDirection.Optimizer)
        {
            yield return $"SOURCE follows whole segments; Direction = TracIn.UpdateDirection.{Direction} is that of one step. Write "
                + "TracIn.UpdateDirection.Optimizer or Sgd.";
        }

        if (Momentum is not null)
        {
            yield return "Momentum scales the rate of SGD alone, and Direction = TracIn.UpdateDirection.Optimizer reads it from the "
                + "checkpoints. Leave Momentum out.";
        }

        if (_segments.SelectMany(s => s.Checkpoints).FirstOrDefault(c => !c.Made.IsKnown) is { } unknown)
        {
            yield return "Direction = TracIn.UpdateDirection.Optimizer needs checkpoints that hold their optimizer's state; "
                + $"{unknown.FilePath} holds none. Write Checkpoint.Save(path, model, optimizer, step) or use a CheckpointRecorder, "
                + "or leave Direction at Sgd.";
        }
    }

    /// <summary>Whether a parameter's weight decay stands beside Adam's scale: only then must blocks be apart by it.</summary>
    private bool DecouplesIn(Segment segment, string parameter) =>
        Direction == TracIn.UpdateDirection.Optimizer && segment.Checkpoints[^1].Made.Of(parameter) is { IsAdam: true, Decoupled: true };

    private OptimizerFlow.Setting Setting(Segment segment, string parameter)
    {
        var (length, decay) = Of(segment, parameter);
        return DecouplesIn(segment, parameter) ? new(length, 0, decay) : new(length, decay, 0);
    }

    /// <summary>How functions of P H are formed, with P the optimizer's scale of each weight and H the EK-FAC curvature.</summary>
    public enum Approximation
    {
        /// <summary>
        /// As they are: by Lanczos' iteration on P^1/2 H P^1/2, query by query, to a relative change of 1e-5 (1e-11 in float64) or 200
        /// steps. No damping. Cost: two rotations into EK-FAC's eigenbasis for each step and query. Memory: 200 vectors of a block's size
        /// for each query at a time, within half of <see cref="MemoryBudget"/>.
        /// </summary>
        Exact,

        /// <summary>
        /// The published approximation: exp(-eta K P d) with d the diagonal of H in the weights' own coordinates, and an EK-FAC inverse at
        /// the <see cref="Curvature"/>'s damping, <c>(H + damping)^-1 [(1 - exp(-eta K P d)) o q]</c>. No iteration.
        /// </summary>
        Diagonal,
    }
}
