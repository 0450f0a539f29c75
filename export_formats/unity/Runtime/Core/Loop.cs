using System;

namespace Ani3D.Core
{
    /// <summary>How a clip repeats: across its seam where it closes, else by a fade into its own beginning.</summary>
    public struct Loop
    {
        /// <summary>A clip closes when no joint turns more at the seam than this many times its fastest step.</summary>
        public const double SeamTolerance = 2;
        /// <summary>How long the fade of a clip that does not close takes [s].</summary>
        public const double FadeSeconds = 0.25;

        /// <summary>Frames after which the clip repeats.</summary>
        public int Period;
        /// <summary>Frames over which its end fades into its beginning; 0 where it closes or is short.</summary>
        public int Fade;
        /// <summary>The frame after the last is the first.</summary>
        public bool Closed;
        /// <summary>What one period adds to the root [m].</summary>
        public double TravelX, TravelZ;

        /// <summary>How to repeat a clip, as runtime/actor_loop.py decides it.</summary>
        public static Loop Of(Clip clip)
        {
            int frames = clip.Frames, last = frames - 1;
            if (frames < 3) return new Loop { Period = frames };
            double fastestTurn = 0, fastestRise = 0;
            for (int t = 0; t < last; t++)
            {
                fastestTurn = Math.Max(fastestTurn, Turn(clip, t, t + 1));
                fastestRise = Math.Max(fastestRise, Rise(clip, t, t + 1));
            }
            bool closed = Turn(clip, last, 0) <= SeamTolerance * fastestTurn + 1e-3 &&
                          Rise(clip, last, 0) <= SeamTolerance * fastestRise + 1e-3;
            int fade = closed ? 0 : (int)Math.Min(Math.Round(FadeSeconds * clip.Fps), frames / 3);
            var loop = new Loop { Period = frames - fade, Fade = fade, Closed = closed };
            // A closed clip's last step is not stored; it goes as far as the mean of the others.
            int end = closed ? last : fade > 0 ? loop.Period : 0;
            double share = closed ? frames / (double)last : 1;
            loop.TravelX = (clip.Roots[3 * end] - (double)clip.Roots[0]) * share;
            loop.TravelZ = (clip.Roots[3 * end + 2] - (double)clip.Roots[2]) * share;
            return loop;
        }

        /// <summary>The largest turn of a joint between two frames [rad].</summary>
        static double Turn(Clip clip, int from, int to)
        {
            int joints = clip.Quats.Length / clip.Frames;
            double largest = 0;
            for (int at = 0; at < joints; at += 4)
            {
                double dot = 0;
                for (int c = 0; c < 4; c++)
                    dot += (double)clip.Quats[from * joints + at + c] * clip.Quats[to * joints + at + c];
                largest = Math.Max(largest, 2 * Math.Acos(Math.Min(Math.Abs(dot), 1)));
            }
            return largest;
        }

        static double Rise(Clip clip, int from, int to) => Math.Abs((double)clip.Roots[3 * to + 1] - clip.Roots[3 * from + 1]);
    }
}
