using UnityEngine;

namespace Ani3D
{
    /// <summary>
    /// Joints as Unity transforms. The core is right-handed with the figure's left at +X, Unity left-handed: x is
    /// mirrored, which keeps +Y up and the figure facing +Z.
    /// </summary>
    public static class Ani3DBones
    {
        /// <summary>World-from-joint matrices [J 12] of the core, from transforms below (or near) the player.</summary>
        public static void Read(Transform player, Transform[] bones, double[] joints)
        {
            Matrix4x4 inverse = player.worldToLocalMatrix;
            for (int j = 0; j < bones.Length; j++)
            {
                // A bone that was deleted stays where the clip has it.
                if (bones[j] == null) continue;
                Matrix4x4 local = Mirror(inverse * bones[j].localToWorldMatrix);
                for (int i = 0; i < 12; i++) joints[12 * j + i] = local[i / 4, i % 4];
            }
        }

        /// <summary>Move transforms to the core's joints.</summary>
        public static void Write(Transform player, Transform[] bones, double[] joints)
        {
            Matrix4x4 place = player.localToWorldMatrix;
            for (int j = 0; j < bones.Length; j++)
            {
                if (bones[j] == null) continue;
                Matrix4x4 joint = Matrix4x4.identity;
                for (int i = 0; i < 12; i++) joint[i / 4, i % 4] = (float)joints[12 * j + i];
                Matrix4x4 world = place * Mirror(joint);
                bones[j].SetPositionAndRotation(world.GetColumn(3), world.rotation);
            }
        }

        /// <summary>A transform under x -> -x, from either side.</summary>
        public static Matrix4x4 Mirror(Matrix4x4 m)
        {
            for (int i = 1; i < 4; i++)
            {
                m[0, i] = -m[0, i];
                m[i, 0] = -m[i, 0];
            }
            return m;
        }
    }
}
