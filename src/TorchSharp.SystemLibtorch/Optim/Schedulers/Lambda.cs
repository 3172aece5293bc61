namespace TorchSharp;

public static partial class torch
{
    public static partial class optim
    {
        public static partial class lr_scheduler
        {
            public static partial class impl
            {
                /// <summary>The initial rate times a function of the epoch.</summary>
                public class LambdaLR : LRScheduler
                {
                    private readonly List<Func<int, double>> _lambdas;

                    public LambdaLR(
                        Optimizer optimizer,
                        Func<int, double> lr_lambda,
                        int last_epoch = -1,
                        bool verbose = false)
                        : this(optimizer, optimizer.ParamGroups.Select(_ => lr_lambda), last_epoch, verbose)
                    {
                    }

                    public LambdaLR(
                        Optimizer optimizer,
                        IEnumerable<Func<int, double>> lr_lambdas,
                        int last_epoch = -1,
                        bool verbose = false) : base(optimizer, last_epoch, verbose)
                    {
                        _lambdas = lr_lambdas.ToList();
                        step();
                    }

                    protected override IEnumerable<double> get_lr()
                        => _base_lrs.Zip(_lambdas, (rate, lambda) => rate * lambda(_last_epoch));
                }

                /// <summary>The current rate times a function of the epoch.</summary>
                public class MultiplicativeLR : LRScheduler
                {
                    private readonly List<Func<int, double>> _lambdas;

                    public MultiplicativeLR(
                        Optimizer optimizer,
                        Func<int, double> lr_lambda,
                        int last_epoch = -1,
                        bool verbose = false)
                        : this(optimizer, optimizer.ParamGroups.Select(_ => lr_lambda), last_epoch, verbose)
                    {
                    }

                    public MultiplicativeLR(
                        Optimizer optimizer,
                        IEnumerable<Func<int, double>> lr_lambdas,
                        int last_epoch = -1,
                        bool verbose = false) : base(optimizer, last_epoch, verbose)
                    {
                        _lambdas = lr_lambdas.ToList();
                        step();
                    }

                    protected override IEnumerable<double> get_lr()
                        => _last_epoch > 0
                            ? Current().Zip(_lambdas, (rate, lambda) => rate * lambda(_last_epoch))
                            : Current();
                }
            }
        }
    }
}
