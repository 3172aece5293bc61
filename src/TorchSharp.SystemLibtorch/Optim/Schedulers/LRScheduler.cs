namespace TorchSharp;

public static partial class torch
{
    public static partial class optim
    {
        public static partial class lr_scheduler
        {
            /// <summary>Changes the learning rates of an optimizer's groups, once a <c>step()</c>.</summary>
            public abstract class LRScheduler
            {
                protected int _step_count;

                internal readonly Optimizer _optimizer = null!;
                internal int _last_epoch = -1;
                internal IList<double> _base_lrs = [];
                internal IList<double> _last_lrs = [];

                private readonly bool _verbose;

                protected LRScheduler()
                {
                }

                protected LRScheduler(Optimizer optimizer, int last_epoch = -1, bool verbose = false)
                {
                    ArgumentNullException.ThrowIfNull(optimizer);
                    _optimizer = optimizer;
                    _last_epoch = last_epoch;
                    _verbose = verbose;
                    _base_lrs = optimizer.ParamGroups.Select(group => group.InitialLearningRate).ToList();
                    _last_lrs = optimizer.ParamGroups.Select(group => group.LearningRate).ToList();
                }

                public virtual void step() => step(null);

                /// <summary>Goes to the next epoch, or to the given one by the closed form.</summary>
                public virtual void step(int? epoch)
                {
                    _step_count++;
                    _last_epoch = epoch ?? (_last_epoch + 1);

                    // The formulas read the current rates, so all new ones are needed before the first is set.
                    var rates = (epoch is null ? get_lr() : get_closed_form_lr()).ToList();
                    var groups = _optimizer.ParamGroups.ToList();
                    for (var i = 0; i < _base_lrs.Count; i++)
                    {
                        groups[i].LearningRate = rates[i];
                        if (_verbose && _last_lrs[i] != rates[i])
                        {
                            Console.WriteLine($"Adjusting learning rate to {rates[i]}");
                        }

                        _last_lrs[i] = rates[i];
                    }
                }

                public virtual void step(double current, int? epoch = null) => step(epoch);

                public IEnumerable<double> get_last_lr() => _last_lrs;

                protected virtual IEnumerable<double> get_lr() => Current();

                protected virtual IEnumerable<double> get_closed_form_lr() => get_lr();

                /// <summary>The current rates, times a factor.</summary>
                internal IEnumerable<double> Current(double factor = 1)
                    => _optimizer.ParamGroups.Select(group => group.LearningRate * factor);
            }
        }
    }
}
