namespace TorchSharp;

public static partial class torch
{
    public static partial class optim
    {
        public static partial class lr_scheduler
        {
            public static partial class impl
            {
                /// <summary>
                /// One rise to <c>max_lr</c> and one fall far below the start; momentum goes the other way.
                /// </summary>
                public class OneCycleLR : LRScheduler
                {
                    private readonly int _totalSteps;
                    private readonly bool _cycleMomentum;
                    private readonly AnnealStrategy _strategy;
                    private readonly Phase[] _phases;

                    public enum AnnealStrategy
                    {
                        Cos,
                        Linear,
                    }

                    public OneCycleLR(
                        Optimizer optimizer,
                        double max_lr,
                        int total_steps = -1,
                        int epochs = -1,
                        int steps_per_epoch = -1,
                        double pct_start = 0.3,
                        AnnealStrategy anneal_strategy = AnnealStrategy.Cos,
                        bool cycle_momentum = true,
                        double base_momentum = 0.85,
                        double max_momentum = 0.95,
                        double div_factor = 25,
                        double final_div_factor = 1e4,
                        bool three_phase = false,
                        int last_epoch = -1,
                        bool verbose = false)
                        : this(
                            optimizer,
                            optimizer.ParamGroups.Select(_ => max_lr),
                            total_steps,
                            epochs,
                            steps_per_epoch,
                            pct_start,
                            anneal_strategy,
                            cycle_momentum,
                            optimizer.ParamGroups.Select(_ => base_momentum),
                            optimizer.ParamGroups.Select(_ => max_momentum),
                            div_factor,
                            final_div_factor,
                            three_phase,
                            last_epoch,
                            verbose)
                    {
                    }

                    public OneCycleLR(
                        Optimizer optimizer,
                        IEnumerable<double> max_lr,
                        int total_steps = -1,
                        int epochs = -1,
                        int steps_per_epoch = -1,
                        double pct_start = 0.3,
                        AnnealStrategy anneal_strategy = AnnealStrategy.Cos,
                        bool cycle_momentum = true,
                        IEnumerable<double>? base_momentum = null,
                        IEnumerable<double>? max_momentum = null,
                        double div_factor = 25,
                        double final_div_factor = 1e4,
                        bool three_phase = false,
                        int last_epoch = -1,
                        bool verbose = false) : base(optimizer, last_epoch, verbose)
                    {
                        if (cycle_momentum && optimizer is not (IMomentum or IBetas))
                        {
                            throw new ArgumentException(
                                "Cycling the momentum needs an optimizer that has one.", nameof(optimizer));
                        }

                        if (!(pct_start is >= 0 and <= 1))
                        {
                            throw new ArgumentException(
                                "The share of the rise must be between 0 and 1.", nameof(pct_start));
                        }

                        _totalSteps = total_steps != -1 ? total_steps : epochs * steps_per_epoch;
                        if (_totalSteps <= 0 || (total_steps == -1 && (epochs <= 0 || steps_per_epoch <= 0)))
                        {
                            throw new ArgumentException(
                                "Give a positive total_steps, or positive epochs and steps_per_epoch.");
                        }

                        _cycleMomentum = cycle_momentum;
                        _strategy = anneal_strategy;

                        double[] peak = [.. max_lr];
                        double[] start = [.. peak.Select(rate => rate / div_factor)];
                        double[] end = [.. start.Select(rate => rate / final_div_factor)];
                        double[] low = [.. base_momentum ?? peak.Select(_ => 0.85)];
                        double[] high = [.. max_momentum ?? peak.Select(_ => 0.95)];
                        var rise = new Phase((pct_start * _totalSteps) - 1, start, peak, high, low);
                        _phases = three_phase
                            ?
                            [
                                rise,
                                new((2 * pct_start * _totalSteps) - 2, peak, start, low, high),
                                new(_totalSteps - 1, start, end, high, high),
                            ]
                            : [rise, new(_totalSteps - 1, peak, end, low, high)];
                        step();
                    }

                    protected override IEnumerable<double> get_lr()
                    {
                        if (_last_epoch > _totalSteps)
                        {
                            throw new InvalidOperationException(
                                $"Step {_last_epoch + 1} is one too many: the cycle has {_totalSteps} steps.");
                        }

                        var index = Array.FindIndex(_phases, phase => _last_epoch <= phase.EndStep);
                        index = index < 0 ? _phases.Length - 1 : index;
                        var phase = _phases[index];
                        var startStep = index == 0 ? 0 : _phases[index - 1].EndStep;
                        var progress = (_last_epoch - startStep) / (phase.EndStep - startStep);

                        var rates = new List<double>();
                        foreach (var group in _optimizer.ParamGroups)
                        {
                            var i = rates.Count;
                            rates.Add(Between(phase.StartRate[i], phase.EndRate[i], progress));
                            if (_cycleMomentum)
                            {
                                SetMomentum(group, Between(phase.StartMomentum[i], phase.EndMomentum[i], progress));
                            }
                        }

                        return rates;
                    }

                    /// <summary>Adam's first decay rate is its momentum.</summary>
                    private static void SetMomentum(ILearningRateController group, double momentum)
                    {
                        if (group is IBetas betas)
                        {
                            betas.Betas = (momentum, betas.Betas.Item2);
                        }
                        else if (group is IMomentum plain)
                        {
                            plain.Momentum = momentum;
                        }
                    }

                    private double Between(double start, double end, double progress) => _strategy == AnnealStrategy.Cos
                        ? end + ((start - end) / 2 * (Math.Cos(Math.PI * progress) + 1))
                        : ((end - start) * progress) + start;

                    private sealed record Phase(
                        double EndStep,
                        double[] StartRate,
                        double[] EndRate,
                        double[] StartMomentum,
                        double[] EndMomentum);
                }
            }
        }
    }
}
