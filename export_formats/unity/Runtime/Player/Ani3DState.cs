using UnityEngine;

namespace Ani3D
{
    /// <summary>
    /// On a state of an Animator Controller (<i>Add Behaviour</i>): entering it fades to the avatar's clip of this name.
    /// The Animator sits on the player's GameObject or above or below it.
    /// </summary>
    public sealed class Ani3DState : StateMachineBehaviour
    {
        [Tooltip("Name of the avatar's clip; empty: the state keeps the clip that is shown.")]
        public string clip = "";
        [Tooltip("Seconds of the fade.")]
        public float fade = 0.25f;
        [Tooltip("Seconds of the clip per second.")]
        public float speed = 1;

        public override void OnStateEnter(Animator animator, AnimatorStateInfo stateInfo, int layerIndex)
        {
            var player = animator.GetComponentInParent<Ani3DPlayer>();
            if (player == null) player = animator.GetComponentInChildren<Ani3DPlayer>();
            if (player == null || player.asset == null) return;
            player.speed = speed;
            if (clip.Length > 0) player.PlayClip(clip, fade);
        }
    }
}
