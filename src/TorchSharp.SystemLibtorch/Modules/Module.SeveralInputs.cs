namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        /// <summary>A module of two inputs. <c>call</c> runs the hooks around <c>forward</c>.</summary>
        public abstract class Module<T1, T2, TResult> :
            HookableModule<Func<Module<T1, T2, TResult>, T1, T2, (T1, T2)?>,
                Func<Module<T1, T2, TResult>, T1, T2, TResult, TResult>>,
            IModule<T1, T2, TResult>
        {
            protected Module(string name) : base(name)
            {
            }

            public abstract TResult forward(T1 input1, T2 input2);

            public TResult call(T1 input1, T2 input2)
            {
                RunModulePreHooks();
                foreach (var hook in pre_hooks.Values)
                {
                    if (hook(this, input1, input2) is { } replacement)
                    {
                        (input1, input2) = replacement;
                    }
                }

                var result = forward(input1, input2);
                foreach (var hook in post_hooks.Values)
                {
                    if (hook(this, input1, input2, result) is { } replacement)
                    {
                        result = replacement;
                    }
                }

                RunModulePostHooks();
                return result;
            }
        }

        /// <summary>A module of three inputs. <c>call</c> runs the hooks around <c>forward</c>.</summary>
        public abstract class Module<T1, T2, T3, TResult> :
            HookableModule<Func<Module<T1, T2, T3, TResult>, T1, T2, T3, (T1, T2, T3)?>,
                Func<Module<T1, T2, T3, TResult>, T1, T2, T3, TResult, TResult>>,
            IModule<T1, T2, T3, TResult>
        {
            protected Module(string name) : base(name)
            {
            }

            public abstract TResult forward(T1 input1, T2 input2, T3 input3);

            public TResult call(T1 input1, T2 input2, T3 input3)
            {
                RunModulePreHooks();
                foreach (var hook in pre_hooks.Values)
                {
                    if (hook(this, input1, input2, input3) is { } replacement)
                    {
                        (input1, input2, input3) = replacement;
                    }
                }

                var result = forward(input1, input2, input3);
                foreach (var hook in post_hooks.Values)
                {
                    if (hook(this, input1, input2, input3, result) is { } replacement)
                    {
                        result = replacement;
                    }
                }

                RunModulePostHooks();
                return result;
            }
        }

        /// <summary>A module of four inputs. <c>call</c> runs the hooks around <c>forward</c>.</summary>
        public abstract class Module<T1, T2, T3, T4, TResult> :
            HookableModule<Func<Module<T1, T2, T3, T4, TResult>, T1, T2, T3, T4, (T1, T2, T3, T4)?>,
                Func<Module<T1, T2, T3, T4, TResult>, T1, T2, T3, T4, TResult, TResult>>,
            IModule<T1, T2, T3, T4, TResult>
        {
            protected Module(string name) : base(name)
            {
            }

            public abstract TResult forward(T1 input1, T2 input2, T3 input3, T4 input4);

            public TResult call(T1 input1, T2 input2, T3 input3, T4 input4)
            {
                RunModulePreHooks();
                foreach (var hook in pre_hooks.Values)
                {
                    if (hook(this, input1, input2, input3, input4) is { } replacement)
                    {
                        (input1, input2, input3, input4) = replacement;
                    }
                }

                var result = forward(input1, input2, input3, input4);
                foreach (var hook in post_hooks.Values)
                {
                    if (hook(this, input1, input2, input3, input4, result) is { } replacement)
                    {
                        result = replacement;
                    }
                }

                RunModulePostHooks();
                return result;
            }
        }
    }
}
