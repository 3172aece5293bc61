namespace TorchSharp;

public static partial class torch
{
    public static partial class optim
    {
        public static partial class lr_scheduler
        {
            public static partial class impl
            {
                /// <summary>The rate times a factor, until a number of epochs has passed.</summary>
                public class ConstantLR : LRScheduler
                {
                    private readonly double _factor;
                    private readonly int _totalIters;

                    public ConstantLR(
                        Optimizer optimizer,
                        double factor = 1.0 / 3,
                        int total_iters = 5,
                        int last_epoch = -1,
                        bool verbose = false) : base(optimizer, last_epoch, verbose)
                    {
                        _factor = factor;
                        _totalIters = total_iters;
                        step();
                    }

                    protected override IEnumerable<double> get_lr()
                        => _last_epoch == 0
                            ? Current(_factor)
                            : _last_epoch == _totalIters ? Current(1 / _factor) : Current();

                    protected override IEnumerable<double> get_closed_form_lr()
                        => _base_lrs.Select(rate => rate * (_last_epoch >= _totalIters ? 1 : _factor));
                }

                /// <summary>The rate's factor goes in a straight line from start to end, then stays.</summary>
                public class LinearLR : LRScheduler
                {
                    private readonly double _start;
                    private readonly double _rise;
                    private readonly int _totalIters;

                    public LinearLR(
                        Optimizer optimizer,
                        double start_factor = 1.0 / 3,
                        double end_factor = 1.0,
                        int total_iters = 5,
                        int last_epoch = -1,
                        bool verbose = false) : base(optimizer, last_epoch, verbose)
                    {
                        _start = start_factor;
                        _rise = end_factor - start_factor;
                        _totalIters = total_iters;
                        step();
                    }

                    protected override IEnumerable<double> get_lr()
                    {
                        if (_last_epoch == 0)
                        {
                            return Current(_start);
                        }

                        return _last_epoch > _totalIters
                            ? Current()
                            : Current(1 + (_rise / ((_totalIters * _start) + ((_last_epoch - 1) * _rise))));
                    }

                    protected override IEnumerable<double> get_closed_form_lr()
                        => _base_lrs.Select(
                            rate => rate * (_start + (_rise * Math.Min(_totalIters, _last_epoch) / _totalIters)));
                }

                /// <summary>Half a cosine wave from the initial rate down to <c>eta_min</c>, and back up.</summary>
                public class CosineAnnealingLR : LRScheduler
                {
                    private readonly double _period;
                    private readonly double _floor;

                    public CosineAnnealingLR(
                        Optimizer optimizer,
                        double T_max,
                        double eta_min = 0,
                        int last_epoch = -1,
                        bool verbose = false) : base(optimizer, last_epoch, verbose)
                    {
                        _period = T_max;
                        _floor = eta_min;
                        step();
                    }

                    protected override IEnumerable<double> get_lr()
                    {
                        if (_last_epoch == 0)
                        {
                            return Current();
                        }

                        // At the bottom of the wave the recursion divides by zero, so the first step up is written out.
                        if ((_last_epoch - 1 - _period) % (2 * _period) == 0)
                        {
                            return Current().Zip(
                                _base_lrs,
                                (rate, initial) => rate + ((initial - _floor) * (1 - Math.Cos(Math.PI / _period)) / 2));
                        }

                        var factor = (1 + Math.Cos(Math.PI * _last_epoch / _period))
                            / (1 + Math.Cos(Math.PI * (_last_epoch - 1) / _period));
                        return Current().Select(rate => (factor * (rate - _floor)) + _floor);
                    }

                    protected override IEnumerable<double> get_closed_form_lr()
                        => _base_lrs.Select(
                            rate => _floor + ((rate - _floor) * (1 + Math.Cos(Math.PI * _last_epoch / _period)) / 2));
                }
            }
        }
    }
}
